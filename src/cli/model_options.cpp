#include "model_options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "generation/default_sampling.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer::cli {

namespace {

constexpr std::uint64_t kMaxThreads = 1024;
constexpr const char* kMostlyUnknown =
    " mostly unknown to the model's tokenizer (<unk>), so the model hears almost nothing of it; "
    "`musicsteer tokenize` shows its tokens";

bool is_mostly_unknown(const Tokenizer& tokenizer, const std::string& text) {
    std::vector<std::int64_t> ids = tokenizer.encode(text);
    ids.pop_back();  // </s>
    const auto unknown = std::count_if(ids.begin(), ids.end(),
                                       [&](std::int64_t id) { return tokenizer.piece(id) == "<unk>"; });
    return !ids.empty() && 2 * unknown >= std::ssize(ids);
}

}  // namespace

bool is_typed(const CLI::Option& option) {
    if (option.count() == 0) return false;
    const char* value = option.get_envname().empty() ? nullptr : std::getenv(option.get_envname().c_str());
    return value == nullptr || option.results() != std::vector<std::string>{value};
}

CLI::Validator whole_number(std::uint64_t least, std::uint64_t most) {
    return CLI::Validator(
        [least, most](std::string& text) -> std::string {
            std::uint64_t number = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
            if (error == std::errc() && end == text.data() + text.size() && number >= least && number <= most)
                return "";
            return in_quotes(text) + " is not a whole number from " + std::to_string(least) + " to " +
                   std::to_string(most);
        },
        "");
}

CLI::Validator signed_whole_number() {
    return CLI::Validator(
        [](std::string& text) -> std::string {
            std::int64_t number = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
            if (error == std::errc() && end == text.data() + text.size()) return "";
            return in_quotes(text) +
                   (error == std::errc::result_out_of_range ? " is too large" : " is not a whole number");
        },
        "");
}

CLI::Validator number() {
    return CLI::Validator(
        [](std::string& text) -> std::string {
            const std::string_view digits = std::string_view(text).substr(text.starts_with('+') ? 1 : 0);
            return parse_number(digits) ? "" : in_quotes(text) + " is not a number";
        },
        "");
}

void warn_of_unknown(const Tokenizer& tokenizer, std::span<const std::string> texts,
                     const std::optional<std::string>& negative_prompt) {
    std::size_t unknown = 0;
    const std::string* first = nullptr;
    for (const std::string& text : texts) {
        if (!is_mostly_unknown(tokenizer, text)) continue;
        if (unknown++ == 0) first = &text;
    }
    if (negative_prompt && is_mostly_unknown(tokenizer, *negative_prompt))
        log_warn("the negative prompt " + in_quotes(*negative_prompt) + " is" + kMostlyUnknown);
    if (unknown == 0) return;
    log_warn((texts.size() == 1 ? "the prompt " + in_quotes(*first) + " is"
                                : std::to_string(unknown) + " of " + std::to_string(texts.size()) +
                                      " prompts are, as " + in_quotes(*first) + ",") +
             kMostlyUnknown);
}

void check_negative_prompt(const std::optional<std::string>& negative_prompt,
                           const SamplingOptions& sampling) {
    if (negative_prompt && !sampling.guided())
        throw UsageError("--negative-prompt has no effect without guidance: the guidance scale is 1");
}

void add_log_level(CLI::App& command, std::string& level) {
    command.add_option("--log-level", level, "What goes to stderr: debug, info, warn or off")
        ->check(CLI::IsMember({"debug", "info", "warn", "off"}))
        ->capture_default_str();
}

void add_model_options(CLI::App& command, ModelOptions& options) {
    command.add_option("-m,--model", options.model, "Model bundle, made by 'musicsteer export'")->required();
    command.add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
    command.add_option("--threads", options.threads, "Threads for the model (0: one for each physical core)")
        ->check(whole_number(0, kMaxThreads))
        ->capture_default_str();
    command.add_flag("--no-verify", options.no_verify, "Don't check the hashes of the bundle's files");
    add_log_level(command, options.log_level);
}

void apply_log_level(const std::string& level) {
    static const std::map<std::string, LogLevel> kLevels = {{"debug", LogLevel::kDebug},
                                                            {"info", LogLevel::kInfo},
                                                            {"warn", LogLevel::kWarn},
                                                            {"off", LogLevel::kOff}};
    set_log_level(kLevels.at(level));
}

Bundle open_bundle(const ModelOptions& options) {
    BundleOptions bundle;
    bundle.verify = !options.no_verify;
    bundle.device = parse_device(options.device);
    const char* variable = std::getenv("MUSICSTEER_MODEL");
    if (variable != nullptr && options.model == variable && !std::filesystem::exists(options.model)) {
        throw InputError("MUSICSTEER_MODEL is " + options.model +
                         ": no such folder; give it an absolute path, to hold in every folder");
    }
    return Bundle::open(options.model, bundle);
}

Model load_model(const ModelOptions& options, Bundle bundle) {
    set_num_threads(options.threads);
    Model model = Model::load(std::move(bundle));
    const Manifest& manifest = model.manifest();
    log_debug("model " + manifest.model_name + ": " + std::to_string(manifest.decoder.num_layers) +
              " layers of " + std::to_string(manifest.decoder.hidden_size) +
              ", licence of the weights: " + manifest.licence);
    return model;
}

void add_melody_flag(CLI::App& command, std::string& file) {
    command.add_option("--melody", file,
                       "Recording whose melody to follow, in any format that libsndfile reads; melody\n"
                       "checkpoints only. Sources are not separated: give the stem that carries the tune");
}

void add_tempo_prior(CLI::App& command, std::string& prior) {
    command.add_option("--tempo-prior", prior,
                       "Preferred tempo where several fit, and how strictly, as BPM:OCTAVES:\n"
                       "librosa's start_bpm and std_bpm [120:1]");
}

void add_measure_command(CLI::App& command, std::string& text) {
    command
        .add_option("--measure-command", text,
                    "Measures of your own: a command that reads a path of an audio file from each line and\n"
                    "answers with a line of JSON, as {\"swing\": 0.2} (docs/measures.md)")
        ->type_name("COMMAND");
}

std::unique_ptr<MeasureCommand> start_measure_command(const std::string& text) {
    return text.empty() ? nullptr : std::make_unique<MeasureCommand>(text);
}

void add_sampling_flags(CLI::App& command, SamplingFlags& flags) {
    command.add_option("--duration", flags.duration_s, "Length of each clip in seconds")
        ->capture_default_str();
    command.add_option("--guidance", flags.guidance,
                       "Classifier-free guidance scale; 1 turns it off [model's, 3]");
    command.add_option("--top-k", flags.top_k,
                       "Sample from the k likeliest tokens; 0 is off, 1 is greedy [model's, 250]");
    command
        .add_option("--top-p", flags.top_p,
                    "Sample from the likeliest tokens up to this probability; 0 is off")
        ->capture_default_str();
    command.add_option("--temperature", flags.temperature,
                       "Sampling temperature; higher is more random [model's, 1]");
    command.add_option(
        "--batch-size", flags.batch_size,
        "Clips computed together; part of what determines the last bits [as many as there are, at "
        "most 16]");
}

SamplingOptions SamplingFlags::over(SamplingOptions options) const {
    options.guidance_scale = guidance.value_or(options.guidance_scale);
    options.top_k = top_k.value_or(options.top_k);
    options.top_p = top_p;
    options.temperature = temperature.value_or(options.temperature);
    options.validate();
    return options;
}

SamplingOptions SamplingFlags::resolve(const Manifest& manifest) const {
    return over(default_sampling(manifest));
}

void SamplingFlags::validate() const {
    if (!std::isfinite(duration_s) || duration_s <= 0.0)
        throw UsageError("--duration must be more than 0 seconds");
    if (batch_size < 0) throw UsageError("--batch-size must be at least 1");
    if (top_k == 1 && (temperature || top_p > 0.0)) {
        throw UsageError(std::string(temperature ? "--temperature" : "--top-p") +
                         " has no effect with --top-k 1, which always takes the likeliest token");
    }
    (void)over({});
}

}  // namespace musicsteer::cli
