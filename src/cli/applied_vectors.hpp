#pragma once

#include <optional>
#include <string>
#include <vector>

#include "experiments/clip_record.hpp"
#include "model/manifest.hpp"
#include "steer_options.hpp"
#include "steering/steering.hpp"

namespace musicsteer::cli {

/// A loaded vector, applied.
struct AppliedVector {
    SteerSetting setting;
    VectorFile vectors;
    std::optional<VectorFile> gate_vectors;
    SteeringSpec spec;
    ResolvedSteering resolved;
    std::string sha256;  ///< of the vector file

    /// Decides from the spec what goes where. @throws UsageError
    void resolve(const DecoderDims& dims);
    /// As records have it.
    AppliedSteering applied() const;
};

/// The vector files, read: what can fail without a model fails here, and so does a file that is not the one
/// that its preset or steering file was made with. @throws InputError
std::vector<AppliedVector> load_vectors(const std::vector<SteerSetting>& settings);
/// Where they were read from, directions of gates too.
std::vector<std::string> vector_files(const std::vector<AppliedVector>& vectors);
/// Holds them to the model and decides what goes where. Warns about vectors and presets from other weights,
/// and about vectors that nearly coincide or oppose.
/// @throws InputError, UsageError
void resolve_vectors(std::vector<AppliedVector>& vectors, const Manifest& manifest);
/// What all of them do to a clip. @throws UsageError if they can't be orthogonalized
SteeringPlan combined_plan(const std::vector<AppliedVector>& vectors);

}  // namespace musicsteer::cli
