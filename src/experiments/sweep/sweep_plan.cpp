#include "experiments/sweep/sweep_plan.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/cores.hpp"
#include "base/errors.hpp"
#include "base/numbers.hpp"
#include "experiments/sweep/sweep_conditions.hpp"
#include "generation/generator.hpp"
#include "generation/scoring.hpp"
#include "model/memory.hpp"

namespace musicsteer {
namespace {

template <typename Value>
std::vector<Value> without_repetition(const std::vector<Value>& values) {
    std::vector<Value> result;
    std::set<Value> seen;
    for (const Value& value : values) {
        if (seen.insert(value).second) result.push_back(value);
    }
    return result;
}

GeneratorOptions generator_options(const SweepRequest& request, const Manifest& manifest) {
    GeneratorOptions options;
    options.duration_s = request.duration_s.value_or(options.duration_s);
    options.sampling.guidance_scale = request.guidance_scale.value_or(manifest.default_guidance_scale);
    options.sampling.top_k = request.top_k.value_or(manifest.default_top_k);
    options.sampling.top_p = request.top_p.value_or(options.sampling.top_p);
    options.sampling.temperature = request.temperature.value_or(manifest.default_temperature);
    options.validate(manifest);
    if (request.negative_prompt && !options.sampling.guided())
        throw UsageError("a negative prompt has no effect without guidance: the guidance scale is 1");
    return options;
}

std::int64_t padded_length(const Tokenizer& tokenizer, const std::string& prompt,
                           const std::optional<std::string>& negative_prompt) {
    SessionRequest request;
    request.prompt = prompt;
    request.negative_prompt = negative_prompt;
    return text_length_for(tokenizer, {&request, 1});
}

bool has_unsteered(const SweepPlan& plan) {
    return plan.conditions.empty() ||
           std::any_of(plan.conditions.begin(), plan.conditions.end(), [](const SweepCondition& condition) {
               return std::find(condition.alphas.begin(), condition.alphas.end(), 0.0) !=
                      condition.alphas.end();
           });
}

/// As many clips as there are, at most 16, halved until they fit.
std::int64_t batch_size_for(const SweepPlan& plan, const Manifest& manifest, std::uint64_t memory) {
    std::int64_t of_a_seed = has_unsteered(plan) ? 1 : 0;
    for (const SweepCondition& condition : plan.conditions) {
        of_a_seed += std::count_if(condition.alphas.begin(), condition.alphas.end(),
                                   [](double alpha) { return alpha != 0.0; });
    }
    const std::int64_t clips = std::ssize(plan.prompts) * std::ssize(plan.seeds) * of_a_seed;
    std::int64_t batch_size = std::min(clips, kMaxDefaultBatch);
    while (batch_size > 1 && batch_memory(plan, manifest, batch_size).total() > memory) batch_size /= 2;
    const std::uint64_t least = batch_memory(plan, manifest, batch_size).total();
    if (least > memory) {
        throw ResourceError("one clip at a time needs about " + format_bytes(least) +
                            " of memory beside the model, the budget is " + format_bytes(memory) +
                            ": raise --memory or use a shorter --duration");
    }
    return batch_size;
}

void check_axes(const SweepRequest& request) {
    const SteeringAxes& axes = request.axes;
    const bool any = !axes.alphas.empty() || !axes.layers.empty() || !axes.strategies.empty() ||
                     !axes.source_layers.empty() || !axes.sites.empty() || !axes.rows.empty() ||
                     !axes.units.empty();
    if (any && request.vectors.empty())
        throw UsageError("alphas, layers and the like need a vector: --steer FILE");
}

/// What is done to a prompt and seed: nothing, or one condition at one strength.
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
    constexpr std::size_t kDigits = 15;  // what fits into 60 bits
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

MemoryEstimate batch_memory(const SweepPlan& plan, const Manifest& manifest, std::int64_t batch_size) {
    BatchShape shape;
    shape.rows = batch_size * (plan.settings.sampling.guided() ? 2 : 1);
    shape.frames = plan.settings.num_frames;
    for (const SweepPrompt& prompt : plan.prompts)
        shape.text_length = std::max(shape.text_length, prompt.text_length);
    if (plan.kl) {  // each clip steered and unsteered, many columns at a time
        shape.rows *= 2;
        shape.columns = kScoringColumns;
    }
    shape.texts = shape.rows;
    return estimate_memory(manifest, shape);
}

std::uint64_t default_memory(const Manifest& manifest, std::uint64_t available) {
    std::uint64_t weights = 0;
    for (const auto& [name, record] : manifest.files) weights += record.bytes;
    return (available - std::min(available, weights)) / 2;
}

SweepPlan make_sweep_plan(const SweepRequest& request, const Manifest& manifest, const Tokenizer& tokenizer,
                          const PlanOptions& options) {
    check_axes(request);
    const GeneratorOptions options_of_clips = generator_options(request, manifest);
    SweepPlan plan;
    plan.model_path = request.model;
    plan.settings = ClipSettings::of(manifest, options_of_clips.duration_s, options_of_clips.sampling);
    plan.settings.sample_format = request.sample_format.value_or(plan.settings.sample_format);
    (void)parse_sample_format(plan.settings.sample_format);
    plan.settings.device = options.device;
    plan.settings.threads = request.threads.value_or(usable_cores());
    plan.negative_prompt = request.negative_prompt;
    if (request.tempo_prior) plan.tempo_prior = TempoPrior::parse(*request.tempo_prior);
    plan.audio = request.audio;
    plan.kl = request.kl;
    for (const std::string& text : without_repetition(request.collect_prompts()))
        plan.prompts.push_back({text, padded_length(tokenizer, text, request.negative_prompt)});
    plan.seeds = request.seeds.empty() ? std::vector<std::uint64_t>{0} : without_repetition(request.seeds);
    plan.conditions = resolve_conditions(request, manifest, options.on_warning);
    plan.settings.batch_size = request.batch_size.value_or(0) > 0
                                   ? *request.batch_size
                                   : batch_size_for(plan, manifest, options.memory);
    return plan;
}

}  // namespace musicsteer
