#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "directions/directions.hpp"
#include "directions/provenance.hpp"
#include "io/atomic_file.hpp"

namespace musicsteer {

/// Pooled activations of the prompts of both sides, from which directions can be computed without generating
/// again. Tensors positive.HOOKPOINT and negative.HOOKPOINT [n, D], and positive.HOOKPOINT.mean_norms [n],
/// all float32. Pairs and numbers are in the metadata.
struct ActivationFile {
    Provenance provenance;
    std::map<std::string, PooledSide> positive;  ///< by hook point name
    std::map<std::string, PooledSide> negative;  ///< the same keys
    PromptRelations relations;                   ///< of all prompts, including those not recorded yet
    /// Settings of an unfinished extraction; a finished file has none.
    std::string unfinished;

    /// @throws InputError for a corrupt or foreign file
    static ActivationFile load(const std::filesystem::path& path);
    /// @throws OutputError
    void save(const std::filesystem::path& path, Overwrite overwrite) const;
};

}  // namespace musicsteer
