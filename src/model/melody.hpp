#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

#include "bundle/manifest.hpp"

namespace musicsteer {

/// A melody as the model's input; empty: none.
struct Melody {
    at::Tensor chroma;   ///< [F, 12] float32, one-hot; undefined: none
    std::string sha256;  ///< of the file; "": none
};

/// Reads a recording in any format, rate and number of channels. A clip of one window hears its first 30 s,
/// as in transformers; a longer clip hears all of it, each window from its own time on.
/// @param file  "": no melody  @param clip_s  length of the clips that follow it
/// @throws UsageError if the model takes no melody; InputError if the file cannot be read
Melody hear_melody(const std::filesystem::path& file, const Manifest& manifest, double clip_s);

}  // namespace musicsteer
