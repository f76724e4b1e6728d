#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace musicsteer {

/// Reads a dict of vectors that Python wrote with torch.save (the zip format, since PyTorch 1.6), without
/// running anything in it.
/// @return key ("3" for an int) -> [D] float32; float64, float16 and bfloat16 are converted
/// @throws InputError if the file is missing, damaged, of the older format, or holds anything but a dict of
/// one-dimensional float tensors.
std::map<std::string, at::Tensor> load_torch_vectors(const std::filesystem::path& path);

}  // namespace musicsteer
