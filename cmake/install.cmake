# `cmake --install build --prefix P`: the program, the library with its headers, and find_package(musicsteer).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS musicsteer RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
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
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/musicsteer)

# The program finds LibTorch where it was built against it; a package sets its own path. LibTorch's folder is named,
# since INSTALL_RPATH_USE_LINK_PATH leaves out folders inside the project, such as .venv.
get_filename_component(torch_lib_dir "${TORCH_LIBRARY}" DIRECTORY)
set_target_properties(musicsteer PROPERTIES INSTALL_RPATH "${torch_lib_dir}" INSTALL_RPATH_USE_LINK_PATH ON)
