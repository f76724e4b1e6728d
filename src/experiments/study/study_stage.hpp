#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "experiments/study/study.hpp"
#include "experiments/study/study_decision.hpp"

namespace musicsteer {

/// A way of steering with what it did, and what random vectors did in its place.
struct StudyWay {
    SteeringSetting steering;
    DoseResponse response;
    std::vector<DoseResponse> random;
};

struct StudyStage {
    std::vector<StudyWay> ways;
    double unsteered_mean = 0.0;  ///< of the measure

    /// The way with the largest reach. @throws nothing; there is at least one
    const StudyWay& best(double max_kl) const;
};

/// What a stage tries on which clips.
struct StagePlan {
    std::string name;
    std::vector<SteeringAxes> ways;  ///< each with one value an axis, and alphas
    std::vector<std::string> prompts;
    std::vector<std::uint64_t> seeds;
    std::vector<std::string> controls;  ///< files of random vectors
};

/// Sweeps what the stage's folder lacks, and reads what came of it.
StudyStage run_stage(const Model& model, const StudyRequest& request, const std::filesystem::path& folder,
                     const StagePlan& plan, const StudyOptions& options);

nlohmann::json estimate_json(const Estimate& estimate);
/// A stage as study.json has it.
nlohmann::json stage_json(const StudyStage& stage, const StagePlan& plan, double max_kl);

}  // namespace musicsteer
