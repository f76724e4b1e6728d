#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/input_file.hpp"

namespace musicsteer {

/// What a safetensors file holds: named tensors and string metadata (huggingface/safetensors format, version
/// 0.3+).
struct TensorFile {
    std::map<std::string, at::Tensor> tensors;  ///< on the CPU, contiguous
    std::map<std::string, std::string> metadata;
};

/// Reads float16, bfloat16, float32, float64, int64, int32, uint8 and bool tensors. No size is used for an
/// allocation before it was compared with the file's size.
/// @throws InputError if the file is missing or truncated, or its header is wrong: longer than the file or
/// than 100 MB (the format's limit), not JSON, offsets that overlap, leave gaps or are out of range, sizes
/// that contradict shapes, overflow, unknown types, duplicate names, metadata that is not text.
TensorFile load_tensors(const std::filesystem::path& path);

struct TensorInfo {
    std::string dtype;  ///< the format's name: "F32"
    std::vector<std::int64_t> shape;
};
struct TensorFileInfo {
    std::map<std::string, TensorInfo> tensors;
    std::map<std::string, std::string> metadata;
};
/// Only the metadata, types and shapes, without reading the data. @throws InputError as load_tensors
TensorFileInfo read_tensor_info(const std::filesystem::path& path);

/// Recognises files of other programs, such as torch.save's. @throws InputError that says what to do with one
void refuse_other_formats(const InputFile& file);

/// Writes atomically; the same content gives the same bytes (names sorted, no clock).
/// Tensors on other devices or with other strides are copied.
/// @throws OutputError, also for types that load_tensors does not read and names that are not UTF-8.
void save_tensors(const std::filesystem::path& path, const TensorFile& content, Overwrite overwrite);

}  // namespace musicsteer
