#include "experiments/study/study.hpp"

#include <array>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/errors.hpp"
#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "cli.hpp"
#include "model_options.hpp"
#include "progress.hpp"

namespace musicsteer::cli {
namespace {

using nlohmann::json;

constexpr const char* kStudyExample = R"(
Four sweeps in folders of --out, killed and gone on with as any sweep: layers, strategies and strength on the
first half of seeds and prompts, confirm on the other. "It steers" is said only where the slope on the held-out
clips is beyond that of random vectors of the same norm. Then DIR/steering.json is written, for generate --steer.
Otherwise it says "no setting steers ...", and the exit code is 0 as well: that is a result.

Example:
  musicsteer study --model bundle --vector brightness.safetensors --measure spectral_centroid_hz \
      --prompts-file prompts/neutral.json --limit 4 --seeds 0:16 --out study/brightness)";

struct StudyFlags {
    ModelOptions model;
    SamplingFlags sampling;
    StudyRequest request;
    std::string seeds = "0:16";
    std::string out;
    std::string tempo_prior;
    bool no_audio = false;
    bool json = false;
};

/// Says once, as soon as the first clips are made, how long the whole will take at most.
class Forecast {
  public:
    explicit Forecast(std::int64_t max_clips) : max_clips_(max_clips) {}

    void look(const SweepProgress& now) {
        if (first_done_ < 0) first_done_ = now.clips_done;
        if (said_ || now.clips_done == first_done_) return;
        said_ = true;
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
        const double each_s = elapsed.count() / static_cast<double>(now.clips_done - first_done_);
        log_info("about " + format_duration(each_s * static_cast<double>(max_clips_ - first_done_)) +
                 " at most, by the first " + std::to_string(now.clips_done - first_done_) + " clips");
    }

  private:
    std::int64_t max_clips_;
    std::int64_t first_done_ = -1;  ///< of an earlier run
    bool said_ = false;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

StudyRequest request_of(const StudyFlags& flags) {
    flags.sampling.validate();
    StudyRequest request = flags.request;
    SweepRequest& clips = request.clips;
    clips.model = flags.model.model;
    clips.prompts = clips.collect_prompts();
    clips.prompts_file.clear();
    clips.limit = 0;
    request.seeds = parse_seeds(flags.seeds);
    clips.duration_s = flags.sampling.duration_s;
    clips.guidance_scale = flags.sampling.guidance;
    clips.top_k = flags.sampling.top_k;
    clips.top_p = flags.sampling.top_p;
    clips.temperature = flags.sampling.temperature;
    if (!flags.tempo_prior.empty()) clips.tempo_prior = flags.tempo_prior;
    clips.batch_size = flags.sampling.batch_size > 0 ? flags.sampling.batch_size : 16;
    if (flags.model.threads > 0) clips.threads = flags.model.threads;
    clips.device = flags.model.device;
    clips.audio = !flags.no_audio;
    request.validate();
    return request;
}

std::string number(const json& value) {
    if (value.is_null()) return "-";
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.4g", value.get<double>());
    return text.data();
}

std::string interval(const json& estimate) {
    if (estimate["low"].is_null() || estimate["high"].is_null())
        return number(estimate["value"]) + " (no interval)";
    return number(estimate["value"]) + " [" + number(estimate["low"]) + ", " + number(estimate["high"]) + "]";
}

std::string name_of(const json& way) {
    std::string text = way["strategy"].get<std::string>();
    if (way["strategy"] == "one-to-all") text += " from layer " + way["source_layer"].dump();
    if (way["strategy"] == "single") text += " layer " + way["layers"][0].dump();
    return text + ", rows " + way["rows"].get<std::string>();
}

void print_ways(const json& stage, const std::string& title) {
    std::cout << title << "\n";
    for (const json& way : stage["ways"]) {
        std::cout << "  " << name_of(way);
        if (way.contains("effect_size")) std::cout << "; effect size " << number(way["effect_size"]);
        std::cout << ": slope " << interval(way["slope"]) << ", alpha " << number(way["alpha_at_max_kl"])
                  << " and change " << number(way["reach"]) << " at the KL cap";
        for (const json& random : way["random"])
            std::cout << "; random vector's slope " << interval(random["slope"]);
        std::cout << "\n";
    }
}

void print_points(const json& stage, const std::string& title) {
    const json& way = stage["ways"][0];
    std::cout << title << " (" << name_of(way) << "; unsteered " << number(stage["unsteered_mean"]) << ")\n";
    for (std::size_t i = 0; i < way["points"].size(); ++i) {
        const json& point = way["points"][i];
        std::cout << "  alpha " << number(point["alpha"]) << ": change " << interval(point["change"])
                  << ", KL " << number(point["kl_nats"]) << " nats; random vectors'";
        for (const json& random : way["random"])
            std::cout << " " << number(random["points"][i]["change"]["value"]);
        std::cout << "\n";
    }
}

void print(const json& study, const std::string& out) {
    if (study.contains("layers")) print_ways(study["layers"], "Layers, each alone");
    if (study.contains("strategies")) print_ways(study["strategies"], "Strategies");
    if (study.contains("strength")) print_points(study["strength"], "Strength");
    if (study.contains("confirm")) {
        print_points(study["confirm"], "Held-out clips");
        std::cout << "  slope " << interval(study["verdict"]["slope"]) << "; random vectors'";
        for (const json& slope : study["verdict"]["random_slopes"]) std::cout << " " << number(slope);
        std::cout << "; beyond them by " << interval(study["verdict"]["advantage"]) << "\n";
    }
    std::cout << study["sentence"].get<std::string>() << "\n";
    const json& best = study["recommendation"];
    if (best.is_null()) return;
    std::cout << "recommended: " << name_of(best) << ", alpha " << number(best["alpha_range"][0]) << " to "
              << number(best["alpha_range"][1]) << "; generate --steer " << out << "/steering.json\n";
}

void run(const StudyFlags& flags, const Context& context) {
    apply_log_level(flags.model.log_level);
    const StudyRequest request = request_of(flags);
    const VectorFile vectors = VectorFile::load(request.vector);
    Bundle bundle = open_bundle(flags.model);
    vectors.check_fits(bundle.manifest(), request.vector);
    SteeringSetting everywhere;
    everywhere.file = request.vector;
    const SteeringSetting resolved = resolve_steering(vectors, everywhere, bundle.manifest().decoder).setting;
    claim_study_folder(request, bundle.manifest(), flags.out);
    const std::int64_t max_clips = max_study_clips(request, std::ssize(resolved.layers->numbers));
    log_info("a study of at most " + std::to_string(max_clips) + " clips, each generated and scored");
    const Model model = load_model(flags.model, std::move(bundle));
    warn_of_unknown(model.tokenizer, request.clips.prompts);

    StudyOptions options;
    options.stop = context.stop;
    options.on_message = log_warn;
    Forecast forecast(max_clips);
    std::unique_ptr<Progress> progress;
    std::string shown;
    options.on_progress = [&](const std::string& stage, const SweepProgress& now) {
        if (!progress || stage != shown) progress = std::make_unique<Progress>(shown = stage);
        progress->update_units(now.clips_done_and_begun(), now.clips_total, "clips");
        forecast.look(now);
    };
    json study;
    try {
        study = run_study(model, request, flags.out, options);
    } catch (const Interrupted&) {
        throw Interrupted("interrupted; the same command goes on from there");
    }
    progress.reset();
    if (flags.json) {
        std::cout << study.dump() << "\n";
    } else {
        print(study, flags.out);
    }
}

void add_flags(CLI::App& command, StudyFlags& flags) {
    StudyRequest& request = flags.request;
    add_model_options(command, flags.model);
    command.add_option("--vector", request.vector, "Vector file to study")->required();
    command
        .add_option("--measure", request.measure,
                    "What it should move: tempo_bpm, spectral_centroid_hz, ... as in `musicsteer measure`")
        ->required();
    command.add_option("--prompt", request.clips.prompts, "What to play; may be repeated")
        ->allow_extra_args(false);
    command.add_option("--prompts-file", request.clips.prompts_file,
                       "Prompts from a file: JSON as prompts/neutral.json, or one a line");
    command.add_option("--limit", request.clips.limit, "Use only the first N prompts of the file")
        ->check(whole_number(1));
    command.add_option("--seeds", flags.seeds, "At least 8; the first half chooses, the other confirms")
        ->capture_default_str();
    command
        .add_option("--max-kl", request.max_kl_nats,
                    "KL divergence from unsteered predictions that is acceptable, in nats a code")
        ->capture_default_str();
    command.add_option("--controls", request.controls, "Random vectors that the verdict compares with")
        ->capture_default_str();
    add_sampling_flags(command, flags.sampling);
    command.get_option("--duration")->default_val(4.0);
    command.get_option("--batch-size")->description("Clips computed together [16]");
    add_tempo_prior(command, flags.tempo_prior);
    command.add_flag("--no-audio", flags.no_audio, "Keep the records alone, no WAV files");
    command.add_flag("--json", flags.json, "Print study.json instead of tables");
    command.add_option("--out", flags.out, "Folder of the study; the same study is gone on with there")
        ->required();
}

}  // namespace

void add_study(CLI::App& app, Context& context) {
    const auto flags = std::make_shared<StudyFlags>();
    CLI::App* command = app.add_subcommand(
        "study", "Find out whether, where and how strongly a vector steers, against random vectors");
    command->footer(kStudyExample);
    add_flags(*command, *flags);
    command->callback([flags, &context] { context.action = [flags, &context] { run(*flags, context); }; });
}

}  // namespace musicsteer::cli
