#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "musicsteer/atomic_file.hpp"

namespace musicsteer {

/// What a safetensors file holds: named tensors and string metadata (huggingface/safetensors format, version 0.3+).
struct TensorFile {
    std::map<std::string, at::Tensor> tensors;     ///< on the CPU, contiguous
    std::map<std::string, std::string> metadata;
};

/// Reads float16, bfloat16, float32, float64, int64, int32, uint8 and bool tensors.
/// @throws InputError if the file is missing, truncated, its header lies (overlapping, out of range or misaligned
/// offsets, sizes that contradict shapes, unknown types, duplicate names, overflow) or is larger than 100 MB.
TensorFile load_tensors(const std::filesystem::path& path);

/// Only the header's metadata and the shapes, without reading the data.
struct TensorInfo {
    std::string dtype;
    std::vector<std::int64_t> shape;
};
struct TensorFileInfo {
    std::map<std::string, TensorInfo> tensors;
    std::map<std::string, std::string> metadata;
};
TensorFileInfo read_tensor_info(const std::filesystem::path& path);

/// Writes atomically; the same content gives the same bytes (names sorted, no clock).
/// @throws OutputError
void save_tensors(const std::filesystem::path& path, const TensorFile& content, Overwrite overwrite);

}  // namespace musicsteer
