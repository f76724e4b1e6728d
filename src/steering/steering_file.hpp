#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/clip_record.hpp"
#include "io/atomic_file.hpp"
#include "steering/steering.hpp"

namespace musicsteer {

/// A vector file and how it is applied, as it is typed or read; what is not said has its default.
struct SteeringEntry {
    std::string file;
    std::optional<std::string> sha256;  ///< that the file must have
    std::optional<double> alpha;        ///< default 1; of mode clamp, none
    std::optional<std::string> layers;  ///< as parse_layers reads it
    std::optional<std::int64_t> source_layer;
    std::optional<std::string> strategy;  ///< default one-to-all with a source layer, else per-layer
    std::optional<std::string> site;
    std::optional<std::string> rows;
    std::optional<std::string> unit;
    std::optional<std::string> mode;
    std::optional<double> value;
    std::optional<std::string> schedule;
    std::optional<double> probability;
    std::optional<std::uint64_t> frame_seed;
    std::optional<std::string> weights;
    std::optional<std::string> heads;  ///< as parse_heads reads it
    std::optional<Gate> gate;
    bool orthogonalize = false;

    /// What says the same as a record.
    static SteeringEntry of(const AppliedSteering& steering);
    /// @throws UsageError for an unknown word or settings that contradict each other
    SteeringEffect effect() const;
    /// @throws UsageError, also for a layer that the model lacks
    SteeringSpec spec(std::int64_t num_layers) const;
};

/// A way of steering as a file: all that flags can say (docs/steering.schema.json).
struct SteeringFile {
    std::string model_name;      ///< of the model that it was made on; empty if it does not say
    std::string weights_sha256;  ///< the same
    std::vector<SteeringEntry> entries;

    /// @throws InputError that names the file and the place, with a suggestion for an unknown key
    static SteeringFile load(const std::filesystem::path& path);
    /// @param origin  named in messages. @param folder  what the vector files' paths are relative to
    static SteeringFile parse(const std::string& text, const std::string& origin,
                              const std::filesystem::path& folder);
};

inline constexpr const char* kSteeringFormat = "musicsteer-steering";

/// Writes what was done to a clip, so that it can be done again, with the vector files' paths as they are
/// seen from the file's folder. @throws OutputError
void save_steering(const std::filesystem::path& path, const ClipSettings& settings,
                   const std::vector<AppliedSteering>& steering, Overwrite overwrite);

}  // namespace musicsteer
