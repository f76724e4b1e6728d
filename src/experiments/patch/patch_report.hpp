#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "experiments/clip_record.hpp"
#include "experiments/patch/patching.hpp"

namespace musicsteer {

/// What came out for one variant.
struct PatchResult {
    PatchVariant variant;
    Estimate estimate;  ///< recovered_share, or of ablations ablation_cost
};

/// What `patch` found.
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
    std::vector<std::vector<double>> values;  ///< [site][layer]; NaN where there is none
};

/// What --out holds (docs/formats.md). What is not known is null.
nlohmann::json patch_json(const PatchReport& report);
/// layer,site,QUANTITY,low,high with a header; layer is `all` for all at once.
std::string patch_csv(const PatchReport& report);
PatchTable patch_table(const PatchReport& report);

}  // namespace musicsteer
