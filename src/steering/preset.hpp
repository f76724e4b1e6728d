#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/clip_record.hpp"
#include "io/atomic_file.hpp"
#include "model/manifest.hpp"

namespace musicsteer {

/// A vector and how it is applied, with the strengths that were found to work.
struct PresetEntry {
    AppliedSteering steering;   ///< `file`: where it lies now; `alpha`: the recommended one
    double lowest_alpha = 0.0;  ///< of the range that was found to work
    double highest_alpha = 0.0;
};

/// A way of steering a model that a study or a calibration recommends (docs/formats.md).
struct Preset {
    std::string model_name;  ///< of the model that it was found on
    std::string weights_sha256;
    std::vector<PresetEntry> entries;
    nlohmann::json evidence = nlohmann::json::object();  ///< what the recommendation rests on; its writer's

    /// @throws InputError that names the file and the place
    static Preset load(const std::filesystem::path& path);
    /// @param origin  named in messages. @param folder  what the vector files' paths are relative to
    static Preset parse(const std::string& text, const std::string& origin,
                        const std::filesystem::path& folder);
    /// Writes the vector files' paths as they are seen from the preset's folder.
    /// @throws OutputError; @throws UsageError if there is no entry, an alpha is outside its range or a
    /// number is not finite
    void save(const std::filesystem::path& path, Overwrite overwrite) const;

    /// True if it was found on the very same weights.
    bool same_weights(const Manifest& manifest) const { return weights_sha256 == manifest.weights_sha256; }
};

inline constexpr const char* kPresetFormat = "musicsteer-preset";

}  // namespace musicsteer
