// Times of the engine's parts, for against_transformers.py: engine_times JOB.json prints JSON.
//
// Job: {"bundle": DIR, "threads": 2, "codec": {"clips", "frames", "repeats"},
//       "steps": {NAME: {"clips", "context", "count", "steered", "recorded"}}, "rounds": 3, "read_bandwidth":
//       true}
// Result: {"load_s", "codec_s": [...], "steps": {NAME: [seconds a step, ...]}, "bytes_per_s"}

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "musicsteer/activations.hpp"
#include "musicsteer/generation_session.hpp"
#include "musicsteer/model.hpp"

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

/// Seconds of each of some steps after `context` given frames.
std::vector<double> time_steps(const Model& model, const json& spec) {
    const std::int64_t clips = spec.at("clips"), context = spec.at("context"), count = spec.at("count");
    std::vector<SessionRequest> requests(static_cast<std::size_t>(clips));
    const at::Tensor given = random_codes(model, clips, context);
    for (std::int64_t i = 0; i < clips; ++i) {
        SessionRequest& request = requests[static_cast<std::size_t>(i)];
        request.prompt = "a calm piano melody with soft strings";
        request.seed = static_cast<std::uint64_t>(i);
        if (context > 0) request.given_codes = given[i];
        if (spec.at("steered").get<bool>()) request.steering = everywhere(model);
    }
    SessionOptions options;
    options.num_frames = context + count;
    GenerationSession session(model, requests, options);
    std::optional<ActivationMeans> recorded;
    if (spec.value("recorded", false)) {
        recorded.emplace(session.hooks(), layer_outputs(model), clips, model.manifest().decoder.hidden_size,
                         PositionRange{0, options.num_frames}, RecordedRows::kBoth);
    }
    while (session.position() < context) (void)session.step();
    std::vector<double> seconds;
    for (std::int64_t i = 0; i < count; ++i) seconds.push_back(seconds_of([&] { (void)session.step(); }));
    return seconds;
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
    json result = {{"steps", json::object()}};
    std::optional<Model> model;
    const std::string bundle = job.at("bundle");
    (void)Bundle::open(bundle);  // which hashes its files when it is new
    result["load_s"] = seconds_of([&] {
        set_num_threads(job.value("threads", 0));
        model.emplace(Model::load(Bundle::open(bundle)));
    });
    if (job.contains("codec")) result["codec_s"] = time_codec(*model, job.at("codec"));
    const json steps = job.value("steps", json::object());
    for (int round = 0; round < job.value("rounds", 1); ++round) {
        for (const auto& [name, spec] : steps.items()) {  // by turns, so that they meet the same machine
            for (const double taken : time_steps(*model, spec)) result["steps"][name].push_back(taken);
        }
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
