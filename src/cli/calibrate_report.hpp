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

/// The inputs of a calibration.
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

/// The vectors at the strengths found, with the evidence.
SteeringFile calibration_file(const Calibration& found, const CalibrationSetup& setup,
                              const std::vector<AppliedVector>& vectors);
/// Sampling and execution of the clips.
nlohmann::json settings_json(const CalibrationSetup& setup);
/// All results as JSON. @param written  path of the steering file, if it was written
nlohmann::json calibration_json(const Calibration& found, const CalibrationSetup& setup,
                                const std::vector<AppliedVector>& vectors,
                                const std::optional<std::string>& written);
void print_calibration(std::ostream& out, const Calibration& found, const CalibrationSetup& setup,
                       const std::vector<AppliedVector>& vectors);
/// Why a met target should not be trusted; empty if it can be.
std::string calibration_warning(const Calibration& found, const CalibrationSetup& setup);
/// Why no steering file was written, as one sentence.
std::string calibration_failure(const Calibration& found, const CalibrationSetup& setup);

/// A step of the search in one line: "alpha 0.1: tempo +4.2 %, 0.12 nats".
std::string step_text(const CalibrationStep& step, const std::vector<MeasureTarget>& targets);

}  // namespace musicsteer::cli
