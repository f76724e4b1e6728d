#pragma once

#include <cstdint>
#include <string>

namespace musicsteer {

/// Where a vector file comes from. Each field is one entry of the file's metadata (docs/formats.md): words as
/// they are, everything else as JSON; the two labels and the two counts share an entry.
struct Provenance {
    std::string concept_name;
    std::string positive_label;
    std::string negative_label;
    std::string method = "mean-diff";
    std::string method_settings;  ///< JSON object; "" for a method without settings
    std::string value_name;  ///< meaning of the prompts' numbers: "prompt" or a measure's name; "" if none
    std::string recordings;  ///< JSON object (docs/formats.md) of an extraction from recordings, else ""
    std::string model_name;
    std::string weights_sha256;
    /// Of the model that was recorded, module -> "f32"; empty if a file does not say.
    std::map<std::string, std::string> precision;
    std::string prompts_sha256;
    std::string melody_sha256;            ///< of the file whose melody all clips followed; "" if none
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

}  // namespace musicsteer
