#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "model/manifest.hpp"

namespace musicsteer {

/// Where a vector file comes from. Each field is one entry of the file's metadata (docs/formats.md): words as
/// they are, all else as JSON; the two labels and the two counts share an entry.
struct Provenance {
    std::string concept_name;
    std::string positive_label;
    std::string negative_label;
    std::string method = "mean-diff";
    std::string method_settings;  ///< JSON object; "" for a method without settings
    std::string value_name;       ///< what the prompts' numbers are: "prompt" or a measure's name; "" if none
    std::string recordings;       ///< JSON object (docs/formats.md) of an extraction from recordings, else ""
    std::string model_name;
    std::string weights_sha256;
    /// Of the model that was listened to, module -> "f32"; empty where a file does not say.
    std::map<std::string, std::string> precision;
    std::string prompts_sha256;
    std::string positions = "generated";  ///< generated | last | window:START-END (seconds)
    std::string rows = "conditional";     ///< conditional | both
    double duration_s = 0.0;
    double guidance_scale = 3.0;
    std::int64_t top_k = 250;
    double top_p = 0.0;
    double temperature = 1.0;
    std::uint64_t seed = 0;
    std::int64_t positive_count = 0;
    std::int64_t negative_count = 0;
    std::int64_t num_layers = 0;   ///< of the model
    std::int64_t hidden_size = 0;  ///< of the model
    std::string made_from;         ///< JSON object of a vector made of other files (docs/formats.md), else ""
};

/// The metadata key under which every safetensors file of ours says what it is, as {"format",
/// "format_version", "oldest_reader"}.
inline constexpr const char* kFormatKey = "musicsteer";
std::string format_stamp(const std::string& format);
/// The format that a file's metadata names, or "" for a foreign file.
std::string format_of(const std::map<std::string, std::string>& metadata);

/// The metadata of a file of that format ("musicsteer-vectors", "musicsteer-activations").
std::map<std::string, std::string> provenance_metadata(const Provenance& provenance,
                                                       const std::string& format);

/// Reads it back. @param what  "vector file", for messages
/// @throws InputError if the file is no musicsteer file, of another format or a newer version, or lacks a
/// field.
Provenance read_provenance(const std::map<std::string, std::string>& metadata, const std::string& format,
                           const std::string& what, const std::string& origin);

/// @throws InputError if the width or the layers don't fit the model: "tempo.safetensors: vectors are 256
/// wide, the model 1024".
void check_fits_model(const Provenance& provenance, const Manifest& manifest, const std::string& origin);

}  // namespace musicsteer
