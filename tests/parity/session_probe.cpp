// session_probe JOB.json: runs what a job asks for through the library and writes one safetensors file.
//
//   bundle   a model's folder
//   input    a safetensors file with the tensors that the job names
//   output   the file to write
//   threads  1 unless given
//   device   "cpu" unless given, or "double" (device_double.hpp)
//   texts    {name: text}    gives NAME [S, Dt], text states
//   encode   {name: tensor}  gives NAME [B, K, T], codes of samples [B, C, N]
//   decode   {name: tensor}  gives NAME [B, C, N], samples of codes [B, K, T]
//   hear     {name: file}    gives NAME [F, 12], the chroma of a recording
//   runs     {name: run}     gives NAME.codes [R, K, N] and what the run's "dump" lists:
//
//     logits       NAME.logits [B, K, positions, V] raw, NAME.guided [R, K, positions, V]
//     activations  NAME.HOOK_POINT [B, positions, D] for every hook point
//     means        NAME.means.HOOK_POINT [R, D] over the clip's frames, conditional rows
//     samples      NAME.samples [R, C, n], each clip decoded by itself
//     scores       NAME.kl, NAME.nll [R] float64 of the run's codes, batches of "score_batch" clips
//     sink         NAME.sink [R, K, N] as handed to the frame sink
//
// Metadata: NAME.forward_calls, NAME.steps, and NAME.error "ModelError: ..." if the run threw.
// A run's "faults" are mistakes made by edit hooks; comparisons have to notice them.

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <exception>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "device_double.hpp"
#include "generation/activations.hpp"
#include "generation/generation_session.hpp"
#include "generation/scoring.hpp"
#include "io/safetensors.hpp"
#include "model/melody.hpp"
#include "model/model.hpp"
#include "musicsteer/errors.hpp"
#include "steering/applied_vector.hpp"
#include "steering/steering_file.hpp"

namespace {

using musicsteer::GenerationSession;
using musicsteer::HookContext;
using musicsteer::HookPoint;
using musicsteer::SessionRequest;
using nlohmann::json;

/// What a job names and what it produced.
struct Job {
    musicsteer::Model model;
    musicsteer::TensorFile input;
    musicsteer::TensorFile output;

    const at::Tensor& tensor(const json& name) const { return input.tensors.at(name.get<std::string>()); }
    std::int64_t num_layers() const { return model.manifest().decoder.num_layers; }
    void keep(const std::string& name, const at::Tensor& tensor) {
        output.tensors[name] = tensor.to(at::kCPU).contiguous();
    }
};

musicsteer::Injection read_injection(const json& spec, const Job& job) {
    musicsteer::Injection injection;
    injection.point = HookPoint::parse(spec.at("point").get<std::string>(), job.num_layers());
    injection.vector = job.tensor(spec.at("vector"));
    injection.strength = spec.at("strength").get<double>();
    injection.rows = musicsteer::parse_steered_rows(spec.at("rows").get<std::string>());
    injection.mode = musicsteer::parse_steering_mode(spec.at("mode").get<std::string>());
    if (injection.mode == musicsteer::SteeringMode::kClamp) injection.value = spec.at("value").get<double>();
    injection.course.schedule = musicsteer::Schedule::parse(spec.at("schedule").get<std::string>());
    injection.course.frames = {spec.at("probability").get<double>(),
                               spec.at("frame_seed").get<std::uint64_t>()};
    if (const auto heads = spec.at("heads").get<std::vector<std::int64_t>>(); !heads.empty()) {
        injection.mask = musicsteer::head_mask(heads, job.model.manifest().decoder);
        injection.vector = injection.vector * injection.mask;
    }
    if (spec.contains("gate")) {
        const json& gate_spec = spec.at("gate");
        const auto gate = musicsteer::GateSetting::parse("job", gate_spec.at("condition").get<std::string>());
        musicsteer::VectorFile vectors;
        vectors.directions[gate.point_name] = job.tensor(gate_spec.at("vector"));
        injection.gate = gate.with_direction(vectors, job.num_layers());
    }
    return injection;
}

/// A steering file's plan, as the program makes it.
musicsteer::SteeringPlan read_steering(const std::string& path, const Job& job) {
    auto vectors = musicsteer::load_vectors(musicsteer::SteeringFile::load(path).settings);
    musicsteer::resolve_vectors(vectors, job.model.manifest(), [](const std::string&) {});
    return musicsteer::combined_plan(vectors);
}

SessionRequest read_request(const json& spec, const Job& job) {
    SessionRequest request;
    request.prompt = spec.value("prompt", "");
    request.unconditional = spec.value("unconditional", false);
    if (spec.contains("negative_prompt"))
        request.negative_prompt = spec.at("negative_prompt").get<std::string>();
    request.seed = spec.value("seed", std::uint64_t{0});
    if (spec.contains("melody")) request.melody = job.tensor(spec.at("melody"));
    if (spec.contains("forced_codes")) request.forced_codes = job.tensor(spec.at("forced_codes"));
    for (const json& section : spec.value("sections", json::array())) {
        musicsteer::RequestSection& read = request.sections.emplace_back();
        read.first_frame = section.at("first_frame").get<std::int64_t>();
        if (section.contains("prompt")) read.prompt = section.at("prompt").get<std::string>();
        if (!section.contains("injections")) continue;
        read.steering.emplace();
        for (const json& injection : section.at("injections"))
            read.steering->push_back(read_injection(injection, job));
    }
    for (const json& injection : spec.value("injections", json::array())) {
        request.steering.push_back(read_injection(injection, job));
    }
    if (spec.contains("steering"))
        request.steering = read_steering(spec.at("steering").get<std::string>(), job);
    return request;
}

std::vector<SessionRequest> read_requests(const json& run, const Job& job) {
    std::vector<SessionRequest> requests;
    for (const json& spec : run.at("requests")) requests.push_back(read_request(spec, job));
    return requests;
}

musicsteer::SessionOptions read_options(const json& run) {
    musicsteer::SessionOptions options;
    options.num_frames = run.at("frames").get<std::int64_t>();
    options.sampling.guidance_scale = run.value("guidance", options.sampling.guidance_scale);
    options.sampling.top_k = run.value("top_k", options.sampling.top_k);
    options.sampling.top_p = run.value("top_p", options.sampling.top_p);
    options.sampling.temperature = run.value("temperature", options.sampling.temperature);
    if (run.contains("window"))
        options.windows = {run.at("window").get<std::int64_t>(), run.at("stride").get<std::int64_t>()};
    options.prefill_chunk = run.value("prefill_chunk", options.prefill_chunk);
    options.text_length = run.value("text_length", options.text_length);
    return options;
}

/// A mistake to be noticed, as an edit of activations.
musicsteer::EditHook read_fault(const json& spec, const Job& job) {
    const auto kind = spec.at("kind").get<std::string>();
    if (kind == "add_by_position") {
        const at::Tensor table = job.tensor(spec.at("tensor"));  // [positions, D]
        return [table](const at::Tensor& x, const HookContext& context) {
            return x + table.narrow(0, context.position, context.columns);
        };
    }
    if (kind == "interleave_heads") {  // [B, T, H, D/H] read as [B, T, D/H, H]
        return [](const at::Tensor& x, const HookContext&) { return x.transpose(2, 3).reshape(x.sizes()); };
    }
    if (kind == "mix_rows") {  // as one scale for a whole batch would
        return
            [](const at::Tensor& x, const HookContext&) { return x + 1e-6 * x.abs().amax(0, true).mean(); };
    }
    throw musicsteer::UsageError("unknown fault " + kind);
}

/// Logits of all steps, before and after guidance.
class LogitsLog {
  public:
    void add(const at::Tensor& logits) { steps_.push_back(logits); }

    void keep(const std::string& name, const GenerationSession& session, Job& job) const {
        const at::Tensor raw = at::cat(steps_, 2);
        job.keep(name + ".logits", raw);
        job.keep(name + ".guided", session.guided(raw));
    }

  private:
    std::vector<at::Tensor> steps_;
};

void keep_samples(const std::string& name, const at::Tensor& codes, Job& job) {
    std::vector<at::Tensor> clips;
    for (std::int64_t i = 0; i < codes.size(0); ++i)
        clips.push_back(job.model.codec.decode(codes.narrow(0, i, 1)));
    job.keep(name, at::cat(clips));
}

void keep_scores(const std::string& name, const json& run, const at::Tensor& codes, Job& job) {
    std::vector<SessionRequest> requests = read_requests(run, job);
    for (std::size_t i = 0; i < requests.size(); ++i)
        requests[i].forced_codes = codes[static_cast<std::int64_t>(i)];
    musicsteer::ScoringOptions options;
    options.sampling = read_options(run).sampling;
    options.text_length = read_options(run).text_length;
    options.windows = read_options(run).windows;
    const auto batch = run.value("score_batch", std::size_t{8});
    options.batch_size = static_cast<std::int64_t>(batch);
    std::vector<double> kl, nll;
    for (std::size_t first = 0; first < requests.size(); first += batch) {
        const auto part = std::span(requests).subspan(first, std::min(batch, requests.size() - first));
        for (const musicsteer::ClipScore& score : musicsteer::score_clips(job.model, part, options)) {
            kl.push_back(score.kl_nats);
            nll.push_back(score.nll_nats);
        }
    }
    job.keep(name + ".kl", at::tensor(kl, at::kDouble));
    job.keep(name + ".nll", at::tensor(nll, at::kDouble));
}

void run_session(const std::string& name, const json& run, Job& job) {
    const auto wanted = run.value("dump", std::set<std::string>{});
    const musicsteer::SessionOptions options = read_options(run);
    const std::vector<HookPoint> points = HookPoint::all(job.num_layers());
    const std::int64_t calls_before = job.model.decoder.forward_calls();
    GenerationSession session(job.model, read_requests(run, job), options);

    std::vector<musicsteer::HookHandle> faults;
    for (const json& fault : run.value("faults", json::array())) {
        const HookPoint point = HookPoint::parse(fault.at("point").get<std::string>(), job.num_layers());
        faults.push_back(session.hooks().edit(point, read_fault(fault, job)));
    }
    std::optional<musicsteer::ActivationTape> tape;
    if (wanted.contains("activations")) tape.emplace(session.hooks(), points);
    std::optional<musicsteer::ActivationMeans> means;
    if (wanted.contains("means")) {
        means.emplace(
            session.hooks(), points, session.num_requests(), job.model.manifest().decoder.hidden_size,
            musicsteer::PositionRange{0, options.num_frames}, musicsteer::RecordedRows::kConditional);
    }
    std::vector<at::Tensor> frames;
    session.on_frame([&](std::int64_t frame, const at::Tensor& codes) {
        if (frame != static_cast<std::int64_t>(frames.size()))
            throw musicsteer::ModelError("sink got frame " + std::to_string(frame) + " out of order");
        frames.push_back(codes.clone());
    });

    LogitsLog log;
    std::int64_t steps = 0;
    for (; !session.done(); ++steps) {
        const musicsteer::StepResult step = session.step();
        if (wanted.contains("logits")) log.add(step.logits);
    }
    job.output.metadata[name + ".forward_calls"] =
        std::to_string(job.model.decoder.forward_calls() - calls_before);
    job.output.metadata[name + ".steps"] = std::to_string(steps);
    job.keep(name + ".codes", session.codes());
    if (wanted.contains("logits")) log.keep(name, session, job);
    if (wanted.contains("sink")) job.keep(name + ".sink", at::stack(frames, 2));
    if (wanted.contains("samples")) keep_samples(name + ".samples", session.codes(), job);
    if (wanted.contains("scores")) keep_scores(name, run, session.codes(), job);
    for (const HookPoint& point : points) {
        if (tape) job.keep(name + "." + point.name(), tape->activations(point, session.num_positions()));
        if (means) job.keep(name + ".means." + point.name(), means->mean(point));
    }
}

void run_job(const json& spec) {
    musicsteer::set_num_threads(spec.value("threads", 1));
    musicsteer::BundleOptions options;
    if (spec.value("device", "cpu") == "double") options.device = device_double();
    Job job{musicsteer::Model::load(musicsteer::Bundle::open(spec.at("bundle").get<std::string>(), options)),
            {},
            {}};
    if (spec.contains("input")) job.input = musicsteer::load_tensors(spec.at("input").get<std::string>());
    const json texts = spec.value("texts", json::object());
    for (const auto& [name, text] : texts.items()) {
        job.keep(name, job.model.text_encoder.encode(job.model.tokenizer.encode(text.get<std::string>())));
    }
    const json encode = spec.value("encode", json::object());
    for (const auto& [name, tensor] : encode.items())
        job.keep(name, job.model.codec.encode(job.tensor(tensor)));
    const json decode = spec.value("decode", json::object());
    for (const auto& [name, tensor] : decode.items())
        job.keep(name, job.model.codec.decode(job.tensor(tensor)));
    const json hear = spec.value("hear", json::object());
    for (const auto& [name, file] : hear.items())
        job.keep(name, musicsteer::hear_melody(file.get<std::string>(), job.model.manifest(), 0.0).chroma);
    const json runs = spec.value("runs", json::object());
    for (const auto& [name, run] : runs.items()) {
        try {
            run_session(name, run, job);
        } catch (const musicsteer::ModelError& error) {
            job.output.metadata[name + ".error"] = std::string("ModelError: ") + error.what();
        }
    }
    musicsteer::save_tensors(spec.at("output").get<std::string>(), job.output, musicsteer::Overwrite::kAllow);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: session_probe JOB.json\n";
        return 2;
    }
    try {
        const c10::InferenceMode guard;
        std::ifstream file(argv[1]);
        run_job(json::parse(file));
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
