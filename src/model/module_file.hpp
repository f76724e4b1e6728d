#pragma once

#include <c10/core/Device.h>
#include <torch/csrc/jit/api/module.h>

#include <filesystem>

namespace musicsteer {

/// What torch::jit::load loads, without a copy: tensors lie in the file, which is mapped into memory, so that
/// pages are read when they are used and shared with other processes.
///
/// Another file may take the place of this one; nobody may shorten it while the module lives.
/// Its code is checked before it is compiled (module_code.hpp).
/// @throws InputError if the file cannot be read or its code is not as ours; c10::Error or another
/// std::exception of LibTorch's if it is no module.
torch::jit::Module load_module_file(const std::filesystem::path& path, c10::Device device);

}  // namespace musicsteer
