#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/study/dose_response.hpp"
#include "experiments/study/study.hpp"

namespace musicsteer {

/// A stage's ways and clips.
struct StagePlan {
    std::string name;
    std::vector<std::string> prompts;
    std::vector<std::uint64_t> seeds;
    /// [vector][way], the studied vector first; resolved, with alphas other than 0.
    std::vector<std::vector<SweepCondition>> vectors;
};

/// Makes the missing clips of the stage's folder, and reads the results.
StudyStage run_stage(const Model& model, const StudyRequest& request, const std::filesystem::path& folder,
                     const StagePlan& plan, const StudyOptions& options);

}  // namespace musicsteer
