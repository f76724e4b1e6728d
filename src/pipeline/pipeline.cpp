#include "musicsteer/pipeline.hpp"

#include "directions/extraction.hpp"
#include "experiments/sweep/sweep.hpp"
#include "generation/clip_runner.hpp"
#include "generation/default_sampling.hpp"
#include "model/memory.hpp"
#include "model/model.hpp"
#include "musicsteer/errors.hpp"
#include "steering/applied_vector.hpp"
#include "steering/steering_source.hpp"

namespace musicsteer {
namespace {

/// Warnings are dropped unless the caller wants them.
OnWarning on_warning_of(const RunOptions& options) {
    return options.on_warning ? options.on_warning : [](const std::string&) {};
}

}  // namespace

struct Pipeline::Loaded {
    Model model;

    SteeringPlan plan_of(const GenerateOptions& options) const {
        std::vector<SteeringSetting> settings;
        for (const SteeringSetting& setting : options.steering) {
            for (SteeringSetting& expanded : expand_steering(setting, model.bundle.directory()))
                settings.push_back(std::move(expanded));
        }
        std::vector<AppliedVector> vectors = load_vectors(settings);
        resolve_vectors(vectors, model.manifest(), on_warning_of(options));
        return combined_plan(vectors);
    }
};

Pipeline::Pipeline(std::unique_ptr<Loaded> loaded) : loaded_(std::move(loaded)) {}
Pipeline::Pipeline(Pipeline&&) noexcept = default;
Pipeline& Pipeline::operator=(Pipeline&&) noexcept = default;
Pipeline::~Pipeline() = default;

Pipeline Pipeline::load(const std::filesystem::path& bundle, const std::string& device, int threads) {
    BundleOptions options;
    options.device = parse_device(device);
    Bundle opened = Bundle::open(bundle, options);
    set_num_threads(threads);
    return Pipeline(std::make_unique<Loaded>(Model::load(std::move(opened))));
}

std::string Pipeline::model_name() const {
    return loaded_->model.manifest().model_name;
}
std::int64_t Pipeline::num_layers() const {
    return loaded_->model.manifest().decoder.num_layers;
}
std::int64_t Pipeline::hidden_size() const {
    return loaded_->model.manifest().decoder.hidden_size;
}
std::int64_t Pipeline::sample_rate_hz() const {
    return loaded_->model.manifest().codec.sample_rate_hz;
}

Audio Pipeline::generate(const ClipRequest& request, const GenerateOptions& options) const {
    Audio audio;
    generate({&request, 1}, options, [&](std::size_t, Audio clip) { audio = std::move(clip); });
    return audio;
}

void Pipeline::generate(std::span<const ClipRequest> requests, const GenerateOptions& options,
                        const std::function<void(std::size_t index, Audio clip)>& sink) const {
    const SteeringPlan plan = loaded_->plan_of(options);
    std::vector<SessionRequest> sessions;
    for (const ClipRequest& request : requests) {
        SessionRequest& session = sessions.emplace_back();
        session.prompt = request.prompt;
        session.seed = request.seed;
        session.negative_prompt = request.negative_prompt;
        session.steering = plan;
    }
    const Model& model = loaded_->model;
    ClipRunOptions run;
    run.num_frames = model.manifest().frames_of(options.duration_s);
    run.sampling = options.sampling.value_or(default_sampling(model.manifest()));
    run.batch_size = options.batch_size;
    run.on_warning = options.on_warning;
    run.stop = options.stop;
    if (options.on_progress) {
        run.on_progress = [&](double clips) {
            options.on_progress(clips / static_cast<double>(requests.size()));
        };
    }
    run.validate(model.manifest());
    const ClipRunner runner(model, std::move(run), sessions.size(),
                            text_length_for(model.tokenizer, sessions));
    runner.run(sessions, [&](const FinishedBatch& batch) {
        for (std::size_t i = 0; i < batch.clips.size(); ++i) sink(batch.first + i, batch.audio(i));
    });
}

VectorFile Pipeline::extract(const PromptSet& prompts, const ExtractOptions& options) const {
    MethodOptions method;
    method.method = parse_direction_method(options.method);
    check_usable(method, prompts, options.limit);
    ExtractionOptions extraction;
    for (std::int64_t layer = 0; layer < num_layers(); ++layer)
        extraction.points.push_back(HookPoint::at(layer, Site::kResidPost));
    extraction.duration_s = options.duration_s;
    extraction.sampling = options.sampling.value_or(default_sampling(loaded_->model.manifest()));
    extraction.seed = options.seed;
    extraction.limit = options.limit;
    extraction.batch_size = options.batch_size;
    extraction.device = loaded_->model.bundle.device().str();
    if (options.on_progress) {
        extraction.on_progress = [&](double done, std::int64_t total) {
            options.on_progress(done / static_cast<double>(total));
        };
    }
    extraction.on_message = options.on_warning;
    extraction.on_warning = options.on_warning;
    extraction.stop = options.stop;
    return compute_directions(record_activations(loaded_->model, prompts, extraction), method, {},
                              options.stop);
}

SweepOutcome Pipeline::sweep(SweepRequest request, const std::filesystem::path& folder,
                             const RunOptions& options) const {
    const Model& model = loaded_->model;
    request.model = model.bundle.directory().string();
    const OnWarning on_warning = on_warning_of(options);
    PlanOptions planning;
    planning.device = model.bundle.device().str();
    planning.memory = default_memory(model.manifest(), available_memory(model.bundle.device()));
    planning.on_warning = on_warning;
    SweepFolder open(folder, make_sweep_plan(request, model.manifest(), model.tokenizer, planning),
                     on_warning);
    SweepOptions running;
    running.on_message = on_warning;
    running.stop = options.stop;
    if (options.on_progress) {
        running.on_progress = [&](const SweepProgress& now) {
            options.on_progress(now.clips_done_and_begun() / static_cast<double>(now.clips_total));
        };
    }
    return run_sweep(model, open, running);
}

}  // namespace musicsteer
