#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/study/dose_response.hpp"
#include "experiments/study/study.hpp"

namespace musicsteer {

/// What a stage tries on which clips.
struct StagePlan {
    std::string name;
    std::vector<std::string> prompts;
    std::vector<std::uint64_t> seeds;
    /// [vector][way], the studied vector first; resolved, with alphas other than 0.
    std::vector<std::vector<SweepCondition>> vectors;
};

/// Sweeps what the stage's folder lacks, and reads what came of it.
StudyStage run_stage(const Model& model, const StudyRequest& request, const std::filesystem::path& folder,
                     const StagePlan& plan, const StudyOptions& options);

}  // namespace musicsteer
