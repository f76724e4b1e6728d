#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "experiments/clip_record.hpp"
#include "experiments/patch/patching.hpp"

namespace musicsteer {

/// The result of one variant.
struct PatchResult {
    PatchVariant variant;
    Estimate estimate;  ///< recovered_share, or ablation_cost for ablations
};

/// The result of `patch`.
struct PatchReport {
    PatchMethod method = PatchMethod::kReplace;
    std::optional<std::string> window;
    ClipSettings settings;  ///< of the clips
    std::vector<PatchClip> clips;
    std::vector<PatchScores> scores;   ///< of the clips
    std::vector<PatchResult> results;  ///< of all variants, in the order of patch_variants
};

/// Sites down, layers across, then all layers at once.
struct PatchTable {
    std::vector<std::string> layers;
    std::vector<std::string> sites;
    std::vector<std::vector<double>> values;  ///< [site][layer]; NaN if there is none
};

/// The content of --out (docs/formats.md). Unknown values are null.
nlohmann::json patch_json(const PatchReport& report);
/// layer,site,QUANTITY,low,high with a header; layer is `all` for all layers at once.
std::string patch_csv(const PatchReport& report);
PatchTable patch_table(const PatchReport& report);

}  // namespace musicsteer
