// Times of the engine's parts, for against_transformers.py and live.py: engine_times JOB.json prints JSON.
//
// Job: {"bundle": DIR, "threads": 2, "codec": {"clips", "frames", "repeats"},
//       "steps": {NAME: {"clips", "context", "count", "steered", "recorded"}},
//       "live": {"frames"}, "read_bandwidth": true}
// Result: {"load_s", "codec_s": [...], "steps": {NAME: [seconds a step, ...]}, "bytes_per_s",
//          "live": {"first_sound_s", "frame_s": [...]}}

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "generation/activations.hpp"
#include "generation/generation_session.hpp"
#include "model/model.hpp"

namespace {

using nlohmann::json;
using namespace musicsteer;

double seconds_of(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

at::Tensor random_codes(const Model& model, std::int64_t clips, std::int64_t frames) {
    const DecoderDims& dims = model.manifest().decoder;
    at::manual_seed(0);
    return at::randint(dims.codebook_size, {clips, dims.num_codebooks, frames}, at::kLong);
}

std::vector<double> time_codec(const Model& model, const json& spec) {
    const at::Tensor codes = random_codes(model, spec.at("clips"), spec.at("frames"));
    std::vector<double> seconds;
    for (int i = 0; i <= spec.at("repeats").get<int>(); ++i) {
        const double taken = seconds_of([&] { (void)model.codec.decode(codes); });
        if (i > 0) seconds.push_back(taken);  // the first call prepares the convolutions
    }
    return seconds;
}

std::vector<HookPoint> layer_outputs(const Model& model) {
    std::vector<HookPoint> points;
    for (std::int64_t layer = 0; layer < model.manifest().decoder.num_layers; ++layer)
        points.push_back(HookPoint::at(layer, Site::kResidPost));
    return points;
}

/// A small vector at the output of every layer.
SteeringPlan everywhere(const Model& model) {
    SteeringPlan plan;
    for (const HookPoint& point : layer_outputs(model)) {
        Injection injection;
        injection.point = point;
        injection.vector = at::full({model.manifest().decoder.hidden_size}, 1e-3F);
        injection.strength = 1.0;
        plan.push_back(injection);
    }
    return plan;
}

/// One way of making steps, after `context` given frames.
class TimedSession {
  public:
    TimedSession(const Model& model, const json& spec)
        : count_(spec.at("count")), session_(model, requests(model, spec), options(spec)) {
        if (spec.value("recorded", false)) {
            recorded_.emplace(session_.hooks(), layer_outputs(model), spec.at("clips").get<std::int64_t>(),
                              model.manifest().decoder.hidden_size,
                              PositionRange{0, options(spec).num_frames}, RecordedRows::kBoth);
        }
        const std::int64_t context = spec.at("context");
        while (session_.position() < context) (void)session_.step();
    }

    /// One more step, if there is one.
    void step() {
        if (static_cast<std::int64_t>(seconds_.size()) < count_)
            seconds_.push_back(seconds_of([&] { (void)session_.step(); }));
    }
    const std::vector<double>& seconds() const { return seconds_; }

  private:
    static std::vector<SessionRequest> requests(const Model& model, const json& spec) {
        const std::int64_t clips = spec.at("clips"), context = spec.at("context");
        std::vector<SessionRequest> requests(static_cast<std::size_t>(clips));
        const at::Tensor given = random_codes(model, clips, context);
        for (std::int64_t i = 0; i < clips; ++i) {
            SessionRequest& request = requests[static_cast<std::size_t>(i)];
            request.prompt = "a calm piano melody with soft strings";
            request.seed = static_cast<std::uint64_t>(i);
            if (context > 0) request.forced_codes = given[i];
            if (spec.at("steered").get<bool>()) request.steering = everywhere(model);
        }
        return requests;
    }
    static SessionOptions options(const json& spec) {
        SessionOptions options;
        options.num_frames = spec.at("context").get<std::int64_t>() + spec.at("count").get<std::int64_t>();
        return options;
    }

    std::int64_t count_;
    GenerationSession session_;
    std::optional<ActivationMeans> recorded_;
    std::vector<double> seconds_;
};

/// Seconds of each step, by the spec's name. The sessions take turns step by step, so that what else the
/// machine does meets all of them alike.
json time_steps(const Model& model, const json& specs) {
    std::vector<std::pair<std::string, std::unique_ptr<TimedSession>>> sessions;
    std::int64_t most = 0;
    for (const auto& [name, spec] : specs.items()) {
        sessions.emplace_back(name, std::make_unique<TimedSession>(model, spec));
        most = std::max(most, spec.at("count").get<std::int64_t>());
    }
    for (std::int64_t i = 0; i < most; ++i) {
        for (const auto& [name, session] : sessions) session->step();
    }
    json seconds = json::object();
    for (const auto& [name, session] : sessions) seconds[name] = session->seconds();
    return seconds;
}

/// One clip that is decoded while it is made: seconds from the request to the first sound, and those of each
/// step with what is decoded after it.
json time_live(const Model& model, const json& spec) {
    const auto start = std::chrono::steady_clock::now();
    SessionRequest request;
    request.prompt = "a calm piano melody with soft strings";
    SessionOptions options;
    options.num_frames = spec.at("frames");
    GenerationSession session(model, {request}, options);
    CodecStream stream = model.codec.stream(options.num_frames);
    std::optional<double> first_s;
    session.on_frame([&](std::int64_t, const at::Tensor& codes) {
        const bool sounds = stream.push(codes[0].unsqueeze(1)).size(1) > 0;
        if (sounds && !first_s)
            first_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
    std::vector<double> seconds;
    while (!session.done()) seconds.push_back(seconds_of([&] { (void)session.step(); }));
    return {{"first_sound_s", first_s.value()}, {"frame_s", seconds}};
}

/// Bytes a second that all threads together read from memory.
double read_bandwidth() {
    constexpr std::int64_t kFloats = std::int64_t{1} << 27;  // 512 MB, beyond any cache
    const at::Tensor data = at::ones({kFloats});
    double best = 0;
    for (int i = 0; i < 4; ++i) {
        const double taken = seconds_of([&] { (void)data.sum(); });
        best = std::max(best, static_cast<double>(kFloats * 4) / taken);
    }
    return best;
}

json run_job(const json& job) {
    const c10::InferenceMode guard;
    json result = json::object();
    std::optional<Model> model;
    const std::string bundle = job.at("bundle");
    (void)Bundle::open(bundle);  // which hashes its files when it is new
    result["load_s"] = seconds_of([&] {
        set_num_threads(job.value("threads", 0));
        model.emplace(Model::load(Bundle::open(bundle)));
    });
    if (job.contains("codec")) result["codec_s"] = time_codec(*model, job.at("codec"));
    result["steps"] = time_steps(*model, job.value("steps", json::object()));
    if (job.contains("live")) {
        (void)time_live(*model, {{"frames", 60}});  // the first calls prepare the modules
        result["live"] = time_live(*model, job.at("live"));
    }
    model.reset();
    if (job.value("read_bandwidth", false)) result["bytes_per_s"] = read_bandwidth();
    return result;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: engine_times JOB.json\n";
        return 2;
    }
    try {
        std::ifstream file(argv[1]);
        std::cout << run_job(json::parse(file)).dump() << '\n';
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
