#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "experiments/calibrate/calibration.hpp"
#include "experiments/study/dose_response.hpp"
#include "experiments/study/study_decision.hpp"
#include "experiments/sweep/sweep.hpp"
#include "model/model.hpp"
#include "musicsteer/sweep_request.hpp"
#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// A question about a vector: where, how and how strongly it moves a measure.
struct StudyRequest {
    SweepRequest clips;  ///< model, prompts, sampling and execution of every clip; the study decides the rest
    std::string vector;
    std::string measure;               ///< as parse_measure_name gives it
    std::vector<std::uint64_t> seeds;  ///< the first half chooses, the second confirms
    double max_kl_nats = kDefaultMaxKl;
    std::vector<std::string> own_measures;  ///< that clips.measure_command gives
    std::int64_t controls = 6;  ///< random vectors, each with the same choice of ways as the vector

    /// @throws UsageError for an unknown measure, fewer than 8 seeds, a prompt that is given twice, ...
    void validate() const;
};

struct StudyOptions {
    std::function<void(const std::string& stage, const SweepProgress&)> on_progress;
    std::function<void(const std::string&)> on_message;  ///< errors
    std::function<void(const std::string&)> on_note;     ///< intermediate findings
    MeasureCommand* measure_command = nullptr;           ///< of the request's clips, running; null: none
    std::stop_token stop;
};

/// A way of steering and its effect.
struct StudyWay {
    SteeringSetting steering;  ///< resolved; its alpha is meaningless
    DoseResponse response;
};

/// Clips of a stage.
struct StageClips {
    std::size_t planned = 0;
    std::size_t made = 0;
    std::size_t overflowed = 0;  ///< steering drove them to infinity
    std::size_t failed = 0;      ///< for another reason
    std::size_t unmeasured = 0;  ///< made, without a value of the measure
};

struct StudyStage {
    std::string name;  ///< of its folder
    std::vector<std::string> prompts;
    std::vector<std::uint64_t> seeds;
    double unsteered_mean = 0.0;  ///< of the measure; NaN if it is defined on no clip
    StageClips clips;
    std::string failure;                         ///< why the first failed clip failed
    std::vector<std::vector<StudyWay>> vectors;  ///< [vector][way], the studied vector first
};

/// The vector file's data on a layer.
struct StudiedLayer {
    std::int64_t layer = 0;
    DirectionStats stats;
};

enum class StudyEnd {
    kSteers,
    kNullVector,        ///< the vector is zero at every layer
    kNotConfirmed,      ///< the verdict says why
    kNoSteadyStrength,  ///< it steers, but no strength moves the measure steadily within the KL cap
    kClipsFailed,       ///< nothing is judged
};

/// The result of a study.
struct Study {
    StudyRequest request;
    std::string model_name;
    std::string weights_sha256;
    std::string vector_sha256;
    std::vector<StudiedLayer> tried_layers;
    std::optional<StudyStage> layers, strategies, strength, confirm;  ///< the stages that were reached
    std::optional<Verdict> verdict;
    /// With alpha and alpha_range; only if it steers.
    std::optional<SteeringSetting> recommendation;
    StudyEnd end = StudyEnd::kNullVector;

    bool prompts_held_out() const { return request.clips.prompts.size() > 1; }
    std::vector<const StudyStage*> stages() const;
};

/// The most clips that a study makes with a model of so many layers.
std::int64_t max_study_clips(const StudyRequest& request, std::int64_t layers, bool guided);
/// Pairs of clips that the verdict is based on.
std::size_t held_out_pairs(const StudyRequest& request);
/// Number of prompts (or seeds, if prompts are few) that its intervals are over.
std::size_t held_out_units(const StudyRequest& request);
/// The layers that are tried alone: all, or 12 of them, evenly spaced.
std::vector<std::int64_t> layers_to_try(const std::vector<std::int64_t>& layers);

/// Creates the study's folder, or checks that it belongs to the same study. @throws InputError if it belongs
/// to another study; @throws OutputError if it holds something else
void claim_study_folder(const StudyRequest& request, const Manifest& manifest,
                        const std::filesystem::path& folder);

/// Runs the stages layers, strategies, strength and confirm, each a sweep in a folder of its own. Existing
/// clips are kept.
/// @throws Interrupted; what sweeps throw
Study run_study(const Model& model, const StudyRequest& request, const std::filesystem::path& folder,
                const StudyOptions& options);

}  // namespace musicsteer
