# `cmake --install build --prefix P`: the program, the library with its headers, and find_package(musicsteer).
# `pip install .`: the program and the component `wheel` (pyproject.toml).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS musicsteer RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(TARGETS musicsteer_core EXPORT musicsteerTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT musicsteerTargets NAMESPACE musicsteer::
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/musicsteer)
configure_package_config_file(cmake/musicsteerConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/musicsteerConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/musicsteer)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/musicsteerConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/musicsteerConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/musicsteerConfigVersion.cmake
              cmake/FindLibTorch.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/musicsteer)

# What a wheel contains besides the program and the Python package. The program looks for prompt sets in ../prompts,
# which is the repository's folder for build/musicsteer.
install(DIRECTORY prompts models DESTINATION . COMPONENT wheel EXCLUDE_FROM_ALL)

# A wheel is installed in site-packages/musicsteer/, beside site-packages/torch/.
if(MUSICSTEER_WHEEL)
  set_target_properties(musicsteer PROPERTIES INSTALL_RPATH "$ORIGIN/../../torch/lib")
else()
  set_target_properties(musicsteer PROPERTIES INSTALL_RPATH "$ORIGIN/../../torch/lib;${LibTorch_LIBRARY_DIR}")
endif()
