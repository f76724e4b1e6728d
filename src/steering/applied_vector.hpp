#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bundle/manifest.hpp"
#include "musicsteer/vector_file.hpp"
#include "steering/resolve.hpp"

namespace musicsteer {

using OnWarning = std::function<void(const std::string&)>;

/// A setting with its files loaded and, after resolve(), its effect on a model.
struct AppliedVector {
    SteeringSetting setting;  ///< as asked, with the files' hashes
    VectorFile vectors;
    std::optional<VectorFile> gate_vectors;
    ResolvedSteering resolved;

    /// Reads the files. Errors that do not need a model are found here, also a file other than the one its
    /// steering file was made with. @throws InputError, UsageError
    static AppliedVector load(const SteeringSetting& setting);
    /// Decides what goes where. Call it again after changing the setting. @throws UsageError, InputError
    void resolve(const Manifest& manifest);
};

std::vector<AppliedVector> load_vectors(const std::vector<SteeringSetting>& settings);
/// The files they were read from, including directions of gates.
std::vector<std::string> vector_files(const std::vector<AppliedVector>& vectors);
/// Checks them against the model and decides what goes where. Warns about vectors and steering files from
/// other weights, strengths outside the range found to work, and vectors that nearly coincide or oppose.
/// @throws InputError, UsageError
void resolve_vectors(std::vector<AppliedVector>& vectors, const Manifest& manifest,
                     const OnWarning& on_warning);
/// Warns if the vectors were extracted from other weights.
void warn_of_other_weights(const AppliedVector& vector, const Manifest& manifest,
                           const OnWarning& on_warning);
/// Warns of a resolved vector that steers nothing, or that pushes so hard that the result can only be noise.
void warn_of_strength(const AppliedVector& vector, const OnWarning& on_warning);
/// Their combined effect on a clip. @throws UsageError if they can't be orthogonalized
SteeringPlan combined_plan(const std::vector<AppliedVector>& vectors);

}  // namespace musicsteer
