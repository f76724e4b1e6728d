#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "musicsteer/overwrite.hpp"
#include "musicsteer/provenance.hpp"

namespace musicsteer {

struct Manifest;

/// Statistics of a direction at one hook point.
struct DirectionStats {
    double norm = 0.0;                ///< of the vector
    double mean_residual_norm = 0.0;  ///< mean norm of the activations it was taken from, both sides
    double effect_size = 0.0;         ///< Cohen's d of the prompts' projections on it, in sample
    /// Of held-out prompts: each is left out in turn (direction_statistics.hpp).
    std::optional<double> cohens_d = std::nullopt;
    std::optional<double> silhouette = std::nullopt;
    std::optional<double> accuracy = std::nullopt;  ///< share of prompts on the right side
    std::optional<double> r = std::nullopt;         ///< correlation with the prompts' numbers
    std::optional<double> cosine_to_mean_diff =
        std::nullopt;  ///< with the difference in means of the same prompts

    /// The optional ones by their names in files, in column order.
    static const std::vector<std::pair<const char*, std::optional<double> DirectionStats::*>>& optional();
};

/// As in a file's metadata and in `inspect --json`, without unknown values.
nlohmann::json direction_stats_json(const DirectionStats& stats);

/// Steering directions, one [D] float32 vector for each hook point, with provenance.
struct VectorFile {
    Provenance provenance;
    std::map<std::string, at::Tensor> directions;  ///< hook point name -> [D] float32, finite
    std::map<std::string, DirectionStats> stats;   ///< the same keys

    /// Unknown metadata is ignored.
    /// @throws InputError for a corrupt or foreign file, NaN or infinite values, unequal widths, unknown hook
    /// points.
    static VectorFile load(const std::filesystem::path& path);
    /// The same content gives the same bytes. @throws OutputError; @throws ModelError if a vector or a
    /// statistic is not finite, or a vector is not [D] float32.
    void save(const std::filesystem::path& path, Overwrite overwrite) const;

    /// @throws InputError if the width or the layers don't fit the model ("tempo.safetensors: vectors are 256
    /// wide, the model 1024").
    void check_fits(const Manifest& manifest, const std::string& origin) const;
    /// True if it was extracted from the same weights.
    bool same_weights(const Manifest& manifest) const;
};

}  // namespace musicsteer
