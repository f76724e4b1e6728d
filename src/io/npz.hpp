#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

#include "io/atomic_file.hpp"

namespace musicsteer {

/// Writes float32 arrays for numpy.load: a zip archive, not compressed, of one NAME.npy each
/// (numpy.lib.format, version 1.0), and `metadata`, a scalar of bytes with text. The same content gives the
/// same bytes.
/// @throws OutputError
void save_npz(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& arrays,
              const std::string& metadata, Overwrite overwrite);

}  // namespace musicsteer
