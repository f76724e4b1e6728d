#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "audio/tempo.hpp"
#include "experiments/clip_record.hpp"
#include "model/manifest.hpp"
#include "model/memory.hpp"
#include "musicsteer/sweep_request.hpp"
#include "tokenizer/tokenizer.hpp"

namespace musicsteer {

/// A way of steering (its own alpha means nothing) and the strengths at which it is tried. Alpha 0 is the
/// unsteered clip, whatever the way.
struct SweepCondition {
    SteeringSetting steering;
    std::vector<double> alphas;
};

/// A text with the length that it is padded to: its own, rounded up to a multiple of kTextBucket, so that
/// other prompts never change a clip.
struct SweepPrompt {
    std::string text;
    std::int64_t text_length = 0;

    auto operator<=>(const SweepPrompt&) const = default;
};

/// Part `index` (from 1) of `count` parts that the clips are dealt into by their IDs.
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
/// alphas). plan.json of a sweep's folder holds it (docs/formats.md), and IDs follow from it alone.
struct SweepPlan {
    std::string model_path;  ///< as typed; not part of what is compared
    ClipSettings settings;
    std::vector<SweepPrompt> prompts;
    std::optional<std::string> negative_prompt;
    std::vector<std::uint64_t> seeds;
    std::vector<SweepCondition> conditions;
    TempoPrior tempo_prior;       ///< of the measures
    std::string measure_command;  ///< own measures; empty: none
    bool audio = true;
    bool kl = false;  ///< records hold `kl_nats`; clips and IDs are the same without
    Shard shard;

    /// The clips of this shard, each once, in the order prompts, seeds, conditions, alphas; the unsteered
    /// clip first. @throws UsageError for more than a million
    std::vector<SweepClip> clips() const;
    /// Goes through the same clips without keeping them. @throws UsageError
    void for_each_clip(const std::function<void(std::string id, const ClipSpec& spec)>& visit) const;

    std::string to_json() const;
    /// @throws InputError
    static SweepPlan parse(const std::string& json, const std::string& origin);
    static SweepPlan load(const std::filesystem::path& path);

    /// What keeps this plan from taking the place of `earlier` without losing a clip, as one sentence; empty
    /// if nothing does: the two are the same, or this one only adds.
    std::string obstacle_to_extending(const SweepPlan& earlier) const;
    /// The same but for the shard and for where model and vectors lie.
    bool same_but_for_shard(const SweepPlan& other) const;
};

/// How its clips are sampled: what the request leaves open is the model's.
SamplingOptions sampling_of(const SweepRequest& request, const Manifest& manifest);

/// What a plan depends on beside the request.
struct PlanOptions {
    std::string device = "cpu";
    std::uint64_t memory = 0;  ///< bytes that batches may take beside the model's weights; see default_memory
    std::function<void(const std::string&)> on_warning;
};

/// What a batch of this plan needs at most.
MemoryEstimate batch_memory(const SweepPlan& plan, const Manifest& manifest);

/// Half of what is free once the model's files are loaded.
std::uint64_t default_memory(const Manifest& manifest, std::uint64_t available);

/// Decides everything: reads prompts and vectors, resolves layers, chooses threads and batch size where they
/// are not given.
/// @throws UsageError for an empty or senseless grid; @throws InputError for unusable files; @throws
/// ResourceError if not one clip fits into the memory
SweepPlan make_sweep_plan(const SweepRequest& request, const Manifest& manifest, const Tokenizer& tokenizer,
                          const PlanOptions& options);

}  // namespace musicsteer
