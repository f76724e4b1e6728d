#pragma once

#include <c10/core/Device.h>
#include <torch/csrc/jit/api/module.h>

#include <filesystem>

namespace musicsteer {

/// Loads the same as torch::jit::load, without copying: tensors are in the mapped file, so pages are read
/// when they are used and shared with other processes.
///
/// The file may be replaced by another, but must not be truncated while the module exists.
/// Its code is checked before it is compiled (module_code.hpp).
/// @throws InputError if the file cannot be read or its code is refused; c10::Error or another std::exception
/// from LibTorch if it is not a module.
torch::jit::Module load_module_file(const std::filesystem::path& path, c10::Device device);

}  // namespace musicsteer
