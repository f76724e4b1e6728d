#include "experiments/sweep/sweep_plan.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/cores.hpp"
#include "base/numbers.hpp"
#include "experiments/sweep/sweep_conditions.hpp"
#include "generation/clip_runner.hpp"
#include "generation/default_sampling.hpp"
#include "io/utf8_path.hpp"
#include "model/melody.hpp"
#include "model/memory.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr double kDefaultDuration_s = 8.0;

template <typename Value>
std::vector<Value> without_repetition(const std::vector<Value>& values) {
    std::vector<Value> result;
    std::set<Value> seen;
    for (const Value& value : values) {
        if (seen.insert(value).second) result.push_back(value);
    }
    return result;
}

bool has_unsteered(const SweepPlan& plan) {
    return plan.conditions.empty() ||
           std::any_of(plan.conditions.begin(), plan.conditions.end(), [](const SweepCondition& condition) {
               return std::find(condition.alphas.begin(), condition.alphas.end(), 0.0) !=
                      condition.alphas.end();
           });
}

std::int64_t count_clips(const SweepPlan& plan) {
    std::int64_t of_a_seed = has_unsteered(plan) ? 1 : 0;
    for (const SweepCondition& condition : plan.conditions) {
        of_a_seed += std::count_if(condition.alphas.begin(), condition.alphas.end(),
                                   [](double alpha) { return alpha != 0.0; });
    }
    return std::ssize(plan.prompts) * std::ssize(plan.seeds) * of_a_seed;
}

/// Memory for generating and scoring its clips.
ClipNeeds needs_of(const SweepPlan& plan) {
    ClipNeeds needs;
    needs.frames = plan.settings.num_frames;
    if (plan.settings.windows) needs.window_frames = plan.settings.windows->length;
    for (const SweepPrompt& prompt : plan.prompts)
        needs.text_length = std::max(needs.text_length, prompt.text_length);
    needs.guided = plan.settings.sampling.guided();
    needs.scored = plan.kl;
    needs.columns = plan.settings.windows ? kPrefillChunk : plan.kl ? kScoringColumns : 1;
    return needs;
}

void check_axes(const SweepRequest& request) {
    if (!request.axes.empty() && request.vectors.empty())
        throw UsageError("alphas, layers and the like need a vector: --steer FILE");
}

/// Steering of a clip: none, or one condition at one strength.
struct Way {
    std::vector<SteeringSetting> steering;
    std::string identity;
};

/// Each once, the unsteered one first.
std::vector<Way> ways_of(const SweepPlan& plan) {
    std::vector<Way> ways;
    std::set<std::string> seen;
    const auto add = [&](std::vector<SteeringSetting> steering) {
        std::string identity = ClipIds::steering_text(steering);
        if (seen.insert(identity).second) ways.push_back({std::move(steering), std::move(identity)});
    };
    if (has_unsteered(plan)) add({});
    for (const SweepCondition& condition : plan.conditions) {
        for (const double alpha : condition.alphas) {
            if (alpha == 0.0) continue;
            SteeringSetting steering = condition.steering;
            steering.alpha = alpha;
            add({std::move(steering)});
        }
    }
    return ways;
}

ClipSpec clip_spec(const SweepPlan& plan, const SweepPrompt& prompt, std::uint64_t seed) {
    ClipSpec spec;
    spec.prompt = prompt.text;
    spec.negative_prompt = plan.negative_prompt;
    spec.seed = seed;
    spec.text_length = prompt.text_length;
    return spec;
}

}  // namespace

SamplingOptions sampling_of(const SweepRequest& request, const Manifest& manifest) {
    SamplingOptions sampling = default_sampling(manifest);
    sampling.guidance_scale = request.guidance_scale.value_or(sampling.guidance_scale);
    sampling.top_k = request.top_k.value_or(sampling.top_k);
    sampling.top_p = request.top_p.value_or(sampling.top_p);
    sampling.temperature = request.temperature.value_or(sampling.temperature);
    return sampling;
}

Shard Shard::parse(const std::string& text) {
    Shard shard;
    const auto number = [&](std::string_view digits, std::int64_t& value) {
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        return error == std::errc() && end == digits.data() + digits.size();
    };
    const std::size_t slash = text.find('/');
    const bool well_formed = slash != std::string::npos &&
                             number(std::string_view(text).substr(0, slash), shard.index) &&
                             number(std::string_view(text).substr(slash + 1), shard.count);
    if (!well_formed || shard.index < 1 || shard.index > shard.count) {
        throw UsageError("shard " + in_quotes(text) + ": expected I/N with I from 1 to N, such as 2/4");
    }
    return shard;
}

bool Shard::holds(const std::string& clip_id) const {
    constexpr std::size_t kDigits = 15;  // fits into 60 bits
    std::uint64_t number = 0;
    std::from_chars(clip_id.data(), clip_id.data() + std::min(kDigits, clip_id.size()), number, 16);
    return number % static_cast<std::uint64_t>(count) == static_cast<std::uint64_t>(index - 1);
}

std::vector<SweepClip> SweepPlan::clips() const {
    std::vector<SweepClip> result;
    for_each_clip([&](std::string id, const ClipSpec& spec) { result.push_back({std::move(id), spec}); });
    return result;
}

void SweepPlan::for_each_clip(const std::function<void(std::string id, const ClipSpec& spec)>& visit) const {
    const std::vector<Way> ways = ways_of(*this);
    const std::vector<SweepPrompt> texts = without_repetition(prompts);
    const std::vector<std::uint64_t> numbers = without_repetition(seeds);
    if (texts.size() * numbers.size() * std::max<std::size_t>(ways.size(), 1) > kMaxClips)
        throw UsageError("more than a million clips in one sweep");
    for (const SweepPrompt& prompt : texts) {
        ClipSpec spec = clip_spec(*this, prompt, 0);
        const ClipIds ids(settings, spec);
        for (const std::uint64_t seed : numbers) {
            spec.seed = seed;
            for (const Way& way : ways) {
                std::string id = ids.id(seed, way.identity);
                if (!shard.holds(id)) continue;
                spec.steering = way.steering;
                visit(std::move(id), spec);
            }
        }
    }
}

MemoryEstimate batch_memory(const SweepPlan& plan, const Manifest& manifest) {
    return estimate_memory(manifest, needs_of(plan), plan.settings.batch_size);
}

std::uint64_t default_memory(const Manifest& manifest, std::uint64_t available) {
    std::uint64_t weights = 0;
    for (const auto& [name, record] : manifest.files) weights += record.bytes;
    return (available - std::min(available, weights)) / 2;
}

SweepPlan make_sweep_plan(const SweepRequest& request, const Manifest& manifest, const Tokenizer& tokenizer,
                          const PlanOptions& options) {
    check_axes(request);
    SweepPlan plan;
    plan.model_path = request.model;
    plan.settings = ClipSettings::of(manifest, request.duration_s.value_or(kDefaultDuration_s),
                                     sampling_of(request, manifest));
    ClipRunOptions run;
    run.num_frames = plan.settings.num_frames;
    run.sampling = plan.settings.sampling;
    run.validate(manifest);
    if (request.negative_prompt && !run.sampling.guided())
        throw UsageError("a negative prompt has no effect without guidance: the guidance scale is 1");
    plan.settings.sample_format = request.sample_format.value_or(plan.settings.sample_format);
    (void)parse_sample_format(plan.settings.sample_format);
    plan.settings.device = options.device;
    plan.settings.threads = request.threads.value_or(usable_cores());
    plan.negative_prompt = request.negative_prompt;
    require_utf8_path(request.melody);
    plan.melody_path = request.melody;
    plan.settings.melody_sha256 = hear_melody(request.melody, manifest, plan.settings.duration_s).sha256;
    if (request.tempo_prior) plan.tempo_prior = TempoPrior::parse(*request.tempo_prior);
    plan.grids = SoundGrids::of(manifest.codec.sample_rate_hz);
    plan.measure_command = request.measure_command;
    plan.audio = request.audio;
    plan.kl = request.kl;
    for (const std::string& text : without_repetition(request.collect_prompts())) {
        plan.prompts.push_back({text, text_length_for(tokenizer, text, request.negative_prompt)});
        const auto warning = warning_of_text_length(plan.prompts.back().text_length);
        if (warning && options.on_warning) options.on_warning(*warning);
    }
    plan.seeds = request.seeds.empty() ? std::vector<std::uint64_t>{0} : without_repetition(request.seeds);
    plan.conditions = resolve_conditions(request, manifest, options.on_warning);
    plan.settings.batch_size = request.batch_size.value_or(0);
    if (plan.settings.batch_size == 0) {
        plan.settings.batch_size =
            default_batch_size(manifest, needs_of(plan), count_clips(plan), options.memory);
        require_memory(batch_memory(plan, manifest), options.memory);
    }
    return plan;
}

}  // namespace musicsteer
