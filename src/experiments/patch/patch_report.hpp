#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "experiments/patch/patching.hpp"

namespace musicsteer {

/// What came out for one variant.
struct PatchResult {
    PatchVariant variant;
    Estimate estimate;
    std::vector<double> log_p;  ///< of each pair's or clip's codes, in nats
};

/// All variants of a run, in the order of patch_variants.
struct PatchReport {
    std::string quantity;  ///< what an estimate is: "recovered" or "cost_nats"
    std::vector<PatchResult> results;
};

/// Sites down, layers across, then all layers at once.
struct PatchTable {
    std::vector<std::string> layers;
    std::vector<std::string> sites;
    std::vector<std::vector<double>> values;  ///< [site][layer]; NaN where there is none
};

/// A list with an object for each variant: `site`, `layer` (null for all layers at once), `layers`, the
/// quantity as `value`, `low`, `high`, and `log_p`. What is not known is null.
nlohmann::json patch_results_json(const PatchReport& report);
/// The same without `log_p`: layer,site,QUANTITY,low,high with a header; layer is `all` for all at once.
std::string patch_results_csv(const PatchReport& report);
PatchTable patch_table(const PatchReport& report);

}  // namespace musicsteer
