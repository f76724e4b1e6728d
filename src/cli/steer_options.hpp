#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "musicsteer/clip_record.hpp"
#include "musicsteer/manifest.hpp"
#include "musicsteer/steering.hpp"

namespace musicsteer::cli {

/// Where a setting that was not typed comes from.
struct PresetOrigin {
    std::string path;
    std::string model_name;  ///< of the model that it was found on
    std::string weights_sha256;
    std::string vector_sha256;  ///< of the vector file that it was found with
};

/// One vector file and how it is applied, as typed; what is not given is decided by resolve_steering.
struct SteerSetting {
    std::string file;
    std::optional<double> alpha;
    std::optional<std::string> layers;
    std::optional<std::int64_t> source_layer;
    std::optional<std::string> strategy;
    std::optional<std::string> site;
    std::optional<std::string> rows;
    std::optional<std::string> unit;
    std::optional<std::string> mode;
    std::optional<double> value;
    std::optional<std::string> schedule;
    std::optional<double> probability;
    std::optional<std::uint64_t> frame_seed;
    std::optional<PresetOrigin> preset;

    /// @throws UsageError
    SteeringEffect effect() const;
    /// "FILE:alpha=1.5:layers=2-5". @throws UsageError naming the key that is unknown or repeated
    static SteerSetting parse(const std::string& text);
};

/// --preset, --steer (any number of them) and the bare flags that complete it when there is one.
struct SteerFlags {
    std::string preset;
    std::vector<std::string> steer;
    SteerSetting bare;

    /// The preset's vectors, then those of --steer. @throws UsageError if bare flags are given without, or
    /// beside several, vectors; @throws InputError for an unusable preset
    std::vector<SteerSetting> settings() const;
};

void add_steer_flags(CLI::App& command, SteerFlags& flags);

/// A loaded vector, applied.
struct AppliedVector {
    SteerSetting setting;
    VectorFile vectors;
    SteeringSpec spec;
    ResolvedSteering resolved;
    std::string sha256;  ///< of the vector file

    /// Decides from the spec what goes where. @throws UsageError
    void resolve(const DecoderDims& dims);
    /// As records have it.
    AppliedSteering applied() const;
};

/// The vector files, read: what can fail without a model fails here, and so does a file that is not the one
/// that its preset was found with. @throws InputError
std::vector<AppliedVector> load_vectors(const std::vector<SteerSetting>& settings);
/// Holds them to the model and decides what goes where. Warns about vectors and presets from other weights.
/// @throws InputError, UsageError
void resolve_vectors(std::vector<AppliedVector>& vectors, const Manifest& manifest);
SteeringPlan combined_plan(const std::vector<AppliedVector>& vectors);

}  // namespace musicsteer::cli
