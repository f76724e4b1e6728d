#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/manifest.hpp"
#include "musicsteer/vector_file.hpp"
#include "steering/resolve.hpp"

namespace musicsteer {

using OnWarning = std::function<void(const std::string&)>;

/// A setting with the files that it names, read, and, once resolve() has been called, what it does to a
/// model.
struct AppliedVector {
    SteeringSetting setting;  ///< as asked, with the files' hashes
    VectorFile vectors;
    std::optional<VectorFile> gate_vectors;
    ResolvedSteering resolved;

    /// Reads the files: what can fail without a model fails here, and so does a file that is not the one that
    /// its steering file was made with. @throws InputError, UsageError
    static AppliedVector load(const SteeringSetting& setting);
    /// Decides what goes where. Again after the setting has been changed. @throws UsageError, InputError
    void resolve(const Manifest& manifest);
};

std::vector<AppliedVector> load_vectors(const std::vector<SteeringSetting>& settings);
/// Where they were read from, directions of gates too.
std::vector<std::string> vector_files(const std::vector<AppliedVector>& vectors);
/// Holds them to the model and decides what goes where. Warns about vectors and steering files from other
/// weights, strengths outside the range that was found to work, and vectors that nearly coincide or oppose.
/// @throws InputError, UsageError
void resolve_vectors(std::vector<AppliedVector>& vectors, const Manifest& manifest,
                     const OnWarning& on_warning);
/// Warns if the vectors were extracted from other weights.
void warn_of_other_weights(const AppliedVector& vector, const Manifest& manifest,
                           const OnWarning& on_warning);
/// What all of them do to a clip. @throws UsageError if they can't be orthogonalized
SteeringPlan combined_plan(const std::vector<AppliedVector>& vectors);

}  // namespace musicsteer
