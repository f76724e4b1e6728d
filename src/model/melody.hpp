#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

#include "model/manifest.hpp"

namespace musicsteer {

/// A melody as the model's input; empty: none.
struct Melody {
    at::Tensor chroma;   ///< [F, 12] float32, one-hot; undefined: none
    std::string sha256;  ///< of the file; "": none
};

/// Reads a recording in any format, rate and number of channels. @param file  "": no melody
/// @throws UsageError if the model takes no melody; InputError if the file cannot be read
Melody hear_melody(const std::filesystem::path& file, const Manifest& manifest);

}  // namespace musicsteer
