#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "applied_vectors.hpp"
#include "audio/tempo.hpp"
#include "experiments/calibrate/calibration.hpp"
#include "experiments/clip_record.hpp"
#include "steering/preset.hpp"

namespace musicsteer::cli {

/// What a calibration ran on.
struct CalibrationSetup {
    std::vector<MeasureTarget> targets;
    CalibrationOptions options;
    std::vector<std::string> search_prompts;
    std::vector<std::string> check_prompts;
    std::uint64_t first_seed = 0;
    std::optional<std::string> negative_prompt;
    ClipSettings clips;
    TempoPrior tempo_prior;
};

/// The vectors at the strengths found, with what was seen as evidence.
Preset calibration_preset(const Calibration& found, const CalibrationSetup& setup,
                          const std::vector<AppliedVector>& vectors);
/// Everything, for machines. @param preset  where it was written, if it was
nlohmann::json calibration_json(const Calibration& found, const CalibrationSetup& setup,
                                const std::vector<AppliedVector>& vectors,
                                const std::optional<std::string>& preset);
void print_calibration(std::ostream& out, const Calibration& found, const CalibrationSetup& setup,
                       const std::vector<AppliedVector>& vectors);
/// Why there is no preset, as one sentence.
std::string calibration_failure(const Calibration& found, const CalibrationSetup& setup);

/// A rung of the search in one line: "alpha 0.1: tempo +4.2 %, 0.12 nats".
std::string step_text(const CalibrationStep& step, const std::vector<MeasureTarget>& targets);

}  // namespace musicsteer::cli
