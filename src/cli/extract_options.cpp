#include "extract_options.hpp"

#include "musicsteer/errors.hpp"
#include "musicsteer/setting.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kSources = "Where activations come from (one of --prompts, recordings, a file)";
constexpr const char* kReading = "What is read";
constexpr const char* kMethod = "How a direction is found";

void add_sources(CLI::App& command, ExtractOptions& options) {
    const auto add = [&](const std::string& flag, auto& target, const std::string& help) {
        return command.add_option(flag, target, help)->group(kSources);
    };
    add("--prompts", options.prompts,
        "Prompt set to generate from: two sides, like prompts/tempo.json; CSV, TSV or JSON Lines with\n"
        "\"positive\" and \"negative\"; or a list with a \"value\" in each prompt. With --like: plain\n"
        "prompts, which the contrast plays [neutral]");
    add("--positive", options.positive,
        "File of prompts, one per line: the positive side, instead of --prompts");
    add("--negative", options.negative, "File of prompts, one per line: the negative side");
    add("--positive-audio", options.positive_audio,
        "Folder of recordings: the positive side. Any format, rate and channels that libsndfile reads");
    add("--negative-audio", options.negative_audio, "Folder of recordings: the negative side");
    add("--audio", options.audio,
        "One folder of recordings instead of two: the larger half by --value is the positive\nside");
    add("--like", options.like,
        "One folder of recordings of what you want, the positive side. The negative side is generated:\n"
        "clips as long, from --prompts, at least as many");
    add("--value", options.value, "What ridge and rfm fit to, measured on each recording: tempo or centroid");
    add("--caption", options.caption, "Prompt for the model while it hears recordings [none]");
    add_melody_flag(command, options.melody);
    command.get_option("--melody")->group(kSources);
    add("--concept", options.concept_name,
        "Name of the concept [the prompt set's, the positive side's, or --value]");
    add_tempo_prior(command, options.tempo_prior);
    command.get_option("--tempo-prior")->group(kSources);
    add("--from-activations", options.from_activations,
        "Activations from --save-activations: any method, without a model");
    add("--save-activations", options.save_activations,
        "Also keep the pooled activations of every prompt or recording (safetensors)");
}

void add_reading(CLI::App& command, ExtractOptions& options) {
    const auto add = [&](const std::string& flag, auto& target, const std::string& help) {
        return command.add_option(flag, target, help)->group(kReading);
    };
    add("--limit", options.limit, "Use only the first N prompts of each side")->check(whole_number(1));
    add("--seed", options.seed,
        "Prompt i of either side, or clip i of a generated contrast, plays with seed + i")
        ->check(whole_number())
        ->capture_default_str();
    add("--site", options.site, "Where in the layer to read")->capture_default_str();
    add("--layers", options.layers, "Layers to read: 2-5,7 or all")->capture_default_str();
    add("--positions", options.positions,
        "Frames that count: generated (all that are played), last, or window:START-END in\n"
        "seconds, such as window:2-5.5")
        ->capture_default_str();
    add("--rows", options.rows, "Guidance rows to read: conditional or both")->capture_default_str();
}

void add_method(CLI::App& command, ExtractOptions& options) {
    const auto add = [&](const std::string& flag, auto& target, const std::string& help) {
        return command.add_option(flag, target, help)->group(kMethod);
    };
    add("--method", options.method,
        "mean-diff (difference of the sides' means), pca or pca-center (of the pairs' differences),\n"
        "logistic (probe), ridge (on numbers), rfm (recursive feature machine; on numbers if there are\n"
        "some), random (the control)")
        ->capture_default_str();
    add("--regularization", options.method_settings.regularization,
        "Regularization of logistic (scikit-learn's 1/C) [0.01], ridge (its alpha) [0.5] or rfm [0.001]");
    add("--rfm-iterations", options.method_settings.rfm_iterations, "Rounds of rfm")->capture_default_str();
    add("--rfm-bandwidth", options.method_settings.rfm_bandwidth,
        "Bandwidth of rfm's kernel, in median distances between prompts")
        ->capture_default_str();
    add("--random-seed", options.method_settings.random_seed, "Seed of the method random")
        ->check(whole_number())
        ->capture_default_str();
}

void refuse(const CLI::App& command, std::initializer_list<const char*> flags, const std::string& why) {
    for (const char* flag : flags)
        if (is_typed(*command.get_option(flag)))
            throw UsageError(std::string(flag) + " has no effect " + why);
}

void check_source(const ExtractOptions& options) {
    if (!options.prompts.empty() && !(options.positive.empty() && options.negative.empty()))
        throw UsageError("give --prompts, or --positive and --negative");
    if (options.positive.empty() != options.negative.empty())
        throw UsageError("--positive and --negative go together");
    const int sources =
        static_cast<int>(options.from_prompts()) + static_cast<int>(options.from_recordings()) +
        static_cast<int>(!options.like.empty()) + static_cast<int>(!options.from_activations.empty());
    const std::string known =
        "--prompts, --positive with --negative, recordings (--positive-audio and --negative-audio, --audio, "
        "or "
        "--like) or --from-activations";
    if (sources == 0) throw UsageError("nothing to extract from: one of " + known + " is required");
    if (sources > 1) throw UsageError("more than one source: give one of " + known);
    if (options.from_activations.empty() && options.model.model.empty())
        throw UsageError("--model is required (or --from-activations)");
}

void check_recordings(const ExtractOptions& options) {
    if (!options.audio.empty()) {
        if (!options.positive_audio.empty() || !options.negative_audio.empty())
            throw UsageError("give --audio, or --positive-audio and --negative-audio");
        if (options.value.empty()) throw UsageError("--audio needs --value tempo or --value centroid");
    } else if (options.positive_audio.empty() || options.negative_audio.empty()) {
        throw UsageError("--positive-audio and --negative-audio go together");
    }
    if (!options.tempo_prior.empty() && options.value != "tempo")
        throw UsageError("--tempo-prior has no effect without --value tempo");
}

void check_method_flags(const ExtractOptions& options, const CLI::App& command) {
    const MethodOptions method = options.resolved_method();
    const std::string why = "with --method " + options.method;
    if (!method.is_regularized()) refuse(command, {"--regularization"}, why);
    if (method.method != DirectionMethod::kRfm) refuse(command, {"--rfm-iterations", "--rfm-bandwidth"}, why);
    if (method.method != DirectionMethod::kRandom) refuse(command, {"--random-seed"}, why);
}

}  // namespace

MethodOptions ExtractOptions::resolved_method() const {
    MethodOptions resolved = method_settings;
    resolved.method = parse_direction_method(method);
    resolved.validate();
    return resolved;
}

std::vector<HookPoint> ExtractOptions::points(std::int64_t num_layers) const {
    std::vector<HookPoint> result;
    const Site parsed = parse_site(site);
    for (const std::int64_t layer : parse_layers(layers, num_layers))
        result.push_back(HookPoint::at(layer, parsed));
    return result;
}

void add_extract_options(CLI::App& command, ExtractOptions& options) {
    add_model_options(command, options.model);
    command.get_option("--model")->required(false);
    command.add_option("-o,--out", options.out, "Vector file to write (safetensors)")->required();
    command.add_flag("--force", options.force, "Replace files that exist");
    add_sources(command, options);
    add_method(command, options);
    add_reading(command, options);
    add_sampling_flags(command, options.sampling);
}

void check_extract_flags(const ExtractOptions& options, const CLI::App& command) {
    if (!options.from_activations.empty()) {
        refuse(command,
               {"--model",          "--prompts",  "--limit",     "--duration",    "--seed",
                "--site",           "--layers",   "--positions", "--rows",        "--save-activations",
                "--guidance",       "--top-k",    "--top-p",     "--temperature", "--positive-audio",
                "--negative-audio", "--audio",    "--value",     "--tempo-prior", "--caption",
                "--concept",        "--positive", "--negative",  "--melody",      "--batch-size",
                "--device",         "--threads",  "--no-verify", "--like"},
               "with --from-activations: it was fixed when the activations were recorded");
    }
    check_source(options);
    check_method_flags(options, command);
    if (!options.like.empty()) {
        refuse(command, {"--value", "--tempo-prior", "--melody"}, "with --like");
    } else if (options.from_recordings()) {
        check_recordings(options);
        refuse(command,
               {"--limit", "--seed", "--melody", "--top-k", "--top-p", "--temperature", "--batch-size"},
               "with recordings, because nothing is generated");
    } else {
        refuse(command, {"--value", "--tempo-prior", "--caption"}, "without recordings");
    }
}

}  // namespace musicsteer::cli
