# LibTorch::LibTorch, from the Python package torch or an archive of pytorch.org.
#
# LibTorch's own CMake files are not used: those of a CUDA build fail without a CUDA toolkit, which only code that
# includes CUDA's headers needs. libtorch.so itself needs libtorch_cpu.so and, in a CUDA build, libtorch_cuda.so,
# so a program that is linked with it runs with either build.
#
# Searched in Torch_DIR and CMAKE_PREFIX_PATH, then in the .venv of scripts/setup.sh.
set(torch_candidates "")
if(Torch_DIR)
  list(APPEND torch_candidates "${Torch_DIR}/../../..")
endif()
string(REPLACE ":" ";" prefixes_of_environment "$ENV{CMAKE_PREFIX_PATH}")
foreach(prefix IN LISTS CMAKE_PREFIX_PATH prefixes_of_environment)
  # An archive's folder, a folder of Python packages, and torch.utils.cmake_prefix_path.
  list(APPEND torch_candidates "${prefix}" "${prefix}/torch" "${prefix}/../..")
endforeach()
set(venv_packages "${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages")
file(GLOB venv_torch ${venv_packages}/torch)
list(APPEND torch_candidates ${venv_torch})

set(LibTorch_ROOT_DIR "LibTorch_ROOT_DIR-NOTFOUND")
foreach(candidate IN LISTS torch_candidates)
  if(EXISTS "${candidate}/lib/libtorch.so" AND EXISTS "${candidate}/include/ATen/ATen.h")
    get_filename_component(LibTorch_ROOT_DIR "${candidate}" ABSOLUTE)
    break()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_ROOT_DIR REASON_FAILURE_MESSAGE
  "pip install torch==2.13.0, or give the folder of a LibTorch in CMAKE_PREFIX_PATH")
if(NOT LibTorch_FOUND OR TARGET LibTorch::LibTorch)
  return()
endif()

set(LibTorch_LIBRARY_DIR "${LibTorch_ROOT_DIR}/lib")
foreach(library IN ITEMS c10 torch_cpu torch)
  add_library(LibTorch::${library} SHARED IMPORTED)
  set_target_properties(LibTorch::${library} PROPERTIES IMPORTED_LOCATION "${LibTorch_LIBRARY_DIR}/lib${library}.so")
endforeach()
add_library(LibTorch::LibTorch INTERFACE IMPORTED)
target_include_directories(LibTorch::LibTorch INTERFACE
  "${LibTorch_ROOT_DIR}/include" "${LibTorch_ROOT_DIR}/include/torch/csrc/api/include")
# The ABI of the libraries.
target_compile_definitions(LibTorch::LibTorch INTERFACE USE_C10D_GLOO USE_DISTRIBUTED USE_RPC USE_TENSORPIPE)
# No symbol of libtorch.so is used by name; its kernels register themselves when it is loaded. NVIDIA's libraries for a
# CUDA build are found when the program starts.
target_link_libraries(LibTorch::LibTorch INTERFACE
  -Wl,--no-as-needed LibTorch::torch -Wl,--as-needed LibTorch::torch_cpu LibTorch::c10 -Wl,--allow-shlib-undefined)
