#include "directions/extraction.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>

#include "directions/provenance.hpp"
#include "directions/random_directions.hpp"
#include "generation/clip_runner.hpp"
#include "model/script_call.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using Sides = std::map<std::string, PooledSide>;

/// One prompt of one side. Sides alternate, so that both grow together.
struct PromptJob {
    bool is_positive = false;
    std::size_t index = 0;
};

/// How many of a side's prompts are used.
std::int64_t count_of(const PromptSide& side, std::int64_t limit) {
    const std::int64_t size = std::ssize(side.prompts);
    return limit > 0 ? std::min(limit, size) : size;
}

class PromptRecorder {
  public:
    PromptRecorder(const Model& model, const PromptSet& prompts, const ExtractionOptions& options)
        : model_(model), prompts_(prompts), options_(options) {
        const Manifest& manifest = model.manifest();
        run_.num_frames = manifest.frames_of(options.duration_s);
        run_.sampling = options.sampling;
        run_.melody = options.melody;
        run_.batch_size = options.batch_size;
        run_.with_audio = false;
        run_.on_warning = options.on_message;
        run_.stop = options.stop;
        run_.validate(manifest);
        positions_ = parse_positions(options.positions, run_.num_frames, manifest.codec.frame_rate_hz);
        result_.provenance = provenance();
        result_.relations = prompt_relations(prompts, options.limit);
        if (result_.relations.has_values()) result_.provenance.value_name = "prompt";
        plan_jobs();
    }

    ActivationFile run() {
        const c10::InferenceMode guard;
        ExtractionProgress progress(options_);
        if (run_.batch_size == 0) run_.batch_size = progress.batch_size();
        std::optional<ActivationMeans> means;
        run_.on_session = [&](GenerationSession& session, std::size_t, std::size_t) {
            means.emplace(session.hooks(), options_.points, session.num_requests(),
                          model_.manifest().decoder.hidden_size, positions_, options_.rows);
        };
        std::size_t found = 0;
        run_.on_progress = [&](double prompts) {
            if (options_.on_progress)
                options_.on_progress(static_cast<double>(found) + prompts, std::ssize(jobs_));
        };
        const ClipRunner runner(model_, run_, jobs_.size(), text_length_);
        found = progress.resume(result_, runner.shape(), options_.points, jobs_.size());
        const auto request_of = [&](std::size_t i) { return request(jobs_[found + i]); };
        runner.run(jobs_.size() - found, request_of, [&](const FinishedBatch& batch) {
            const std::size_t first = found + batch.first;
            for (const HookPoint& point : options_.points)
                keep(*means, point, first, first + batch.clips.size());
            progress.save(result_);
        });
        result_.unfinished.clear();
        return std::move(result_);
    }

  private:
    void plan_jobs() {
        const std::size_t positives = result_.provenance.positive_count;
        const std::size_t negatives = result_.provenance.negative_count;
        for (std::size_t i = 0; i < std::max(positives, negatives); ++i) {
            if (i < positives) jobs_.push_back({true, i});
            if (i < negatives) jobs_.push_back({false, i});
        }
        std::vector<SessionRequest> all;
        for (const PromptJob& job : jobs_) all.push_back(request(job));
        text_length_ = text_length_for(model_.tokenizer, all);
    }

    Provenance provenance() const {
        Provenance p = pooling_provenance(options_, model_.manifest());
        p.concept_name = prompts_.concept_name;
        p.positive_label = prompts_.positive.label;
        p.negative_label = prompts_.negative.label;
        p.prompts_sha256 = prompts_.sha256;
        p.seed = options_.seed;
        p.positive_count = count_of(prompts_.positive, options_.limit);
        p.negative_count = count_of(prompts_.negative, options_.limit);
        return p;
    }

    SessionRequest request(const PromptJob& job) const {
        const PromptSide& side = job.is_positive ? prompts_.positive : prompts_.negative;
        SessionRequest request;
        request.prompt = side.prompts.at(job.index).text;
        request.seed = options_.seed + job.index;
        return request;
    }

    void keep(const ActivationMeans& means, const HookPoint& point, std::size_t first, std::size_t last) {
        const at::Tensor values = means.mean(point);
        const at::Tensor norms = means.mean_norm(point);
        for (std::size_t i = first; i < last; ++i) {
            const auto row = static_cast<std::int64_t>(i - first);
            Sides& sides = jobs_[i].is_positive ? result_.positive : result_.negative;
            sides[point.name()].append(values.narrow(0, row, 1), norms.narrow(0, row, 1));
        }
    }

    const Model& model_;
    const PromptSet& prompts_;
    const ExtractionOptions& options_;
    ClipRunOptions run_;
    std::int64_t text_length_ = 0;
    PositionRange positions_;
    std::vector<PromptJob> jobs_;
    ActivationFile result_;
};

}  // namespace

ActivationFile record_activations(const Model& model, const PromptSet& prompts,
                                  const ExtractionOptions& options) {
    if (options.limit < 0) throw UsageError("limit must be at least 1 prompt a side");
    if (options.points.empty()) throw UsageError("no hook point to record");
    return PromptRecorder(model, prompts, options).run();
}

void check_usable(const MethodOptions& method, const PromptSet& prompts, std::int64_t limit) {
    check_usable(method, prompt_relations(prompts, limit), count_of(prompts.positive, limit),
                 count_of(prompts.negative, limit));
}

PromptRelations prompt_relations(const PromptSet& prompts, std::int64_t limit) {
    PromptRelations relations;
    relations.paired = prompts.paired;
    const auto values_of = [limit](const PromptSide& side) {
        const auto size = static_cast<std::int64_t>(side.prompts.size());
        std::vector<double> values;
        for (std::int64_t i = 0; i < (limit > 0 ? std::min(limit, size) : size); ++i) {
            const auto& value = side.prompts[static_cast<std::size_t>(i)].value;
            if (!value) return std::vector<double>();
            values.push_back(*value);
        }
        return values;
    };
    relations.positive_values = values_of(prompts.positive);
    relations.negative_values = values_of(prompts.negative);
    if (!relations.has_values()) relations = {prompts.paired, {}, {}};
    return relations;
}

VectorFile compute_directions(const ActivationFile& activations, const MethodOptions& method,
                              const std::function<void(std::int64_t, std::int64_t)>& on_point,
                              const std::stop_token& stop) {
    method.validate();
    VectorFile file;
    file.provenance = activations.provenance;
    file.provenance.method = to_text(method.method);
    file.provenance.method_settings = method.settings_json();
    const bool is_random = method.method == DirectionMethod::kRandom;
    const auto total = static_cast<std::int64_t>(activations.positive.size());
    std::int64_t done = 0;
    for (const auto& [point, positive] : activations.positive) {
        if (stop.stop_requested()) throw Interrupted("interrupted");
        const PooledSide& negative = activations.negative.at(point);
        try {
            Direction direction = with_our_errors("finding a direction", [&] {
                return is_random ? difference_in_means(positive, negative)
                                 : find_direction(positive, negative, activations.relations, method);
            });
            file.directions[point] = std::move(direction.vector);
            file.stats[point] = direction.stats;
        } catch (const InputError& error) {
            throw InputError(point + ": " + error.what());
        }
        if (on_point) on_point(++done, total);
    }
    if (!is_random) return file;
    randomize_directions(file.directions, method.random_seed);
    for (const auto& [point, vector] : file.directions) {
        file.stats[point] = direction_statistics_of(vector, activations.positive.at(point),
                                                    activations.negative.at(point), activations.relations);
    }
    return file;
}

}  // namespace musicsteer
