#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "audio/tempo.hpp"
#include "bundle/manifest.hpp"
#include "experiments/clip_record.hpp"
#include "experiments/sound_grids.hpp"
#include "model/memory.hpp"
#include "musicsteer/sweep_request.hpp"
#include "tokenizer/tokenizer.hpp"

namespace musicsteer {

/// A way of steering (its own alpha is meaningless) and its strengths. Alpha 0 is the unsteered clip.
struct SweepCondition {
    SteeringSetting steering;
    std::vector<double> alphas;
};

/// A text with its padded length: its own, rounded up to a multiple of kTextBucket, so that other prompts
/// never change a clip.
struct SweepPrompt {
    std::string text;
    std::int64_t text_length = 0;

    auto operator<=>(const SweepPrompt&) const = default;
};

/// Part `index` (from 1) of `count` parts into which clips are divided by their IDs.
struct Shard {
    std::int64_t index = 1;
    std::int64_t count = 1;

    /// "2/4". @throws UsageError
    static Shard parse(const std::string& text);
    bool holds(const std::string& clip_id) const;
    std::string text() const { return std::to_string(index) + "/" + std::to_string(count); }
};

struct SweepClip {
    std::string id;
    ClipSpec spec;
};

/// A sweep with everything decided: prompts x seeds x (the unsteered clip, and every condition at each of its
/// alphas). It is stored in plan.json (docs/formats.md) and determines the IDs.
struct SweepPlan {
    std::string model_path;  ///< as typed; not compared
    ClipSettings settings;
    std::vector<SweepPrompt> prompts;
    std::optional<std::string> negative_prompt;
    std::string melody_path;  ///< as model_path; its hash is in the settings
    std::vector<std::uint64_t> seeds;
    std::vector<SweepCondition> conditions;
    TempoPrior tempo_prior;       ///< of the measures
    std::string measure_command;  ///< own measures; empty: none
    SoundGrids grids;
    bool audio = true;
    bool kl = false;  ///< records have `kl_nats`; does not affect clips and IDs
    Shard shard;

    /// The clips of this shard, each once, in the order prompts, seeds, conditions, alphas; the unsteered
    /// clip first. @throws UsageError for more than a million
    std::vector<SweepClip> clips() const;
    /// Visits the same clips without keeping them. @throws UsageError
    void for_each_clip(const std::function<void(std::string id, const ClipSpec& spec)>& visit) const;

    std::string to_json() const;
    /// @throws InputError
    static SweepPlan parse(const std::string& json, const std::string& origin);
    static SweepPlan load(const std::filesystem::path& path);

    /// Why this plan cannot replace `earlier` without losing a clip, as one sentence. Empty if it can: the
    /// two are the same, or this one only adds clips.
    std::string obstacle_to_extending(const SweepPlan& earlier) const;
    /// Whether they are the same except for the shard and the paths of model and vectors.
    bool same_but_for_shard(const SweepPlan& other) const;
};

/// Sampling of the clips: from the request, else the model's.
SamplingOptions sampling_of(const SweepRequest& request, const Manifest& manifest);

/// What a plan depends on besides the request.
struct PlanOptions {
    std::string device = "cpu";
    std::uint64_t memory = 0;  ///< bytes that batches may use besides the model's weights; see default_memory
    std::function<void(const std::string&)> on_warning;
};

/// The most memory that a batch of this plan needs.
MemoryEstimate batch_memory(const SweepPlan& plan, const Manifest& manifest);

/// Half of what is free after the model's files are loaded.
std::uint64_t default_memory(const Manifest& manifest, std::uint64_t available);

/// Decides everything: reads prompts and vectors, resolves layers, and chooses threads and batch size if they
/// are not given. @throws UsageError for an empty or invalid grid; @throws InputError for unusable files;
/// @throws ResourceError if not one clip fits into the memory
SweepPlan make_sweep_plan(const SweepRequest& request, const Manifest& manifest, const Tokenizer& tokenizer,
                          const PlanOptions& options);

}  // namespace musicsteer
