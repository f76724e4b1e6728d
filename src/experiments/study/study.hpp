#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>
#include <vector>

#include "directions/vector_file.hpp"
#include "experiments/calibrate/calibration.hpp"
#include "experiments/sweep/sweep.hpp"
#include "experiments/sweep/sweep_request.hpp"
#include "model/model.hpp"

namespace musicsteer {

/// What is asked about a vector: where, how and how strongly it moves a measure.
struct StudyRequest {
    SweepRequest clips;  ///< model, prompts, sampling and execution of every clip; all else is decided here
    std::string vector;
    std::string measure;               ///< a name of kMeasureNames
    std::vector<std::uint64_t> seeds;  ///< the first half chooses, the second confirms
    double max_kl_nats = kDefaultMaxKl;
    std::int64_t controls = 8;  ///< random vectors that the verdict compares with

    /// @throws UsageError for an unknown measure, fewer than 8 seeds, ...
    void validate() const;
};

struct StudyOptions {
    std::function<void(const std::string& stage, const SweepProgress&)> on_progress;
    std::function<void(const std::string&)> on_message;
    std::stop_token stop;
};

/// The most clips that a study of so many layers makes.
std::int64_t max_study_clips(const StudyRequest& request, std::int64_t layers);

/// Makes the folder a study's, or finds it the same study's. @throws InputError if it is another study's;
/// @throws OutputError if it holds something else
void claim_study_folder(const StudyRequest& request, const Manifest& manifest,
                        const std::filesystem::path& folder);

/// Layers, strategies, strength and the verdict, each a sweep in a folder of its own; what is there is kept.
/// Writes study.json, and steering.json if a setting steers (docs/formats.md).
/// @return what study.json holds @throws Interrupted; what sweeps throw
nlohmann::json run_study(const Model& model, const StudyRequest& request, const std::filesystem::path& folder,
                         const StudyOptions& options);

}  // namespace musicsteer
