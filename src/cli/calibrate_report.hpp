#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "audio/tempo.hpp"
#include "experiments/calibrate/calibration.hpp"
#include "experiments/clip_record.hpp"
#include "steering/applied_vector.hpp"
#include "steering/steering_file.hpp"

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
    std::string measure_command;  ///< empty: none
};

/// The vectors at the strengths found, with what was seen as evidence.
SteeringFile calibration_file(const Calibration& found, const CalibrationSetup& setup,
                              const std::vector<AppliedVector>& vectors);
/// Sampling and execution of the clips.
nlohmann::json settings_json(const CalibrationSetup& setup);
/// Everything, for machines. @param written  where the steering file was written, if it was
nlohmann::json calibration_json(const Calibration& found, const CalibrationSetup& setup,
                                const std::vector<AppliedVector>& vectors,
                                const std::optional<std::string>& written);
void print_calibration(std::ostream& out, const Calibration& found, const CalibrationSetup& setup,
                       const std::vector<AppliedVector>& vectors);
/// What keeps a met target from being trusted; empty if nothing does.
std::string calibration_warning(const Calibration& found, const CalibrationSetup& setup);
/// Why there is no steering file, as one sentence.
std::string calibration_failure(const Calibration& found, const CalibrationSetup& setup);

/// A rung of the search in one line: "alpha 0.1: tempo +4.2 %, 0.12 nats".
std::string step_text(const CalibrationStep& step, const std::vector<MeasureTarget>& targets);

}  // namespace musicsteer::cli
