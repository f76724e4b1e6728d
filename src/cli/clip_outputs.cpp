#include "clip_outputs.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>

#include "audio/encoded_audio.hpp"
#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "io/atomic_file.hpp"
#include "musicsteer/errors.hpp"
#include "prompts/prompt_choice.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer::cli {
namespace {

constexpr std::size_t kMaxSlug = 40;

/// "Fast piano, with drums!" -> "fast-piano-with-drums"; "" for a prompt without ASCII letters or digits
std::string slug_of(const std::string& prompt) {
    std::string slug;
    for (const char character : prompt) {
        const auto byte = static_cast<unsigned char>(character);
        if (byte < 0x80 && std::isalnum(byte)) {
            slug += static_cast<char>(std::tolower(byte));
        } else if (!slug.empty() && slug.back() != '-') {
            slug += '-';
        }
        if (slug.size() >= kMaxSlug) break;
    }
    while (!slug.empty() && slug.back() == '-') slug.pop_back();
    return slug;
}

/// @param strength  of the steering, as "a0.2", or empty
std::string clip_name(std::size_t number, const SessionRequest& request, const std::string& strength) {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%04zu", number);
    const std::string slug = request.unconditional ? "unconditional" : slug_of(request.prompt);
    return std::string(digits) + (slug.empty() ? "" : "-" + slug) + "-s" + std::to_string(request.seed) +
           (strength.empty() ? "" : "-" + strength) + ".wav";
}

/// clip.wav -> clip-unsteered.wav
std::filesystem::path baseline_of(const std::filesystem::path& wav) {
    return std::filesystem::path(wav).replace_filename(wav.stem().string() + "-unsteered" +
                                                       wav.extension().string());
}

std::filesystem::path json_beside(std::filesystem::path wav) {
    return wav.replace_extension(".json");
}

/// "10ms" or "0.5s" -> seconds
double parse_fade(const std::string& text) {
    const bool in_ms = text.ends_with("ms");
    if (!text.ends_with('s')) throw UsageError("--fade " + text + ": expected a time such as 10ms or 0.5s");
    const std::string number = text.substr(0, text.size() - (in_ms ? 2 : 1));
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0')
        throw UsageError("--fade " + text + ": expected a time such as 10ms or 0.5s");
    return in_ms ? value / 1000.0 : value;
}

std::string one_digit(double number) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", number);
    return text;
}

}  // namespace

std::vector<SessionRequest> expand_clips(const ClipFlags& flags) {
    const bool has_prompts = !flags.prompts.empty() || !flags.prompts_file.empty();
    std::vector<std::string> prompts;
    if (flags.unconditional) {
        if (has_prompts) throw UsageError("--unconditional takes no prompt");
        if (flags.negative_prompt) throw UsageError("--unconditional takes no negative prompt");
        prompts.emplace_back();
    } else {
        if (!has_prompts)
            throw UsageError("nothing to generate: give --prompt, --prompts or --unconditional");
        prompts = collect_prompts({flags.prompts, flags.prompts_file});
    }

    std::vector<std::uint64_t> seeds;
    for (const std::string& text : flags.seeds) {
        const std::vector<std::uint64_t> more = parse_seeds(text);
        seeds.insert(seeds.end(), more.begin(), more.end());
    }
    if (seeds.empty()) seeds.push_back(0);
    const std::size_t takes = flags.with_baseline ? 2 : 1;
    if (prompts.size() * seeds.size() * takes > kMaxClips)
        throw UsageError("more than a million clips in one call");
    std::vector<SessionRequest> requests;
    for (const std::string& prompt : prompts) {
        for (const std::uint64_t seed : seeds) {
            SessionRequest request;
            request.prompt = prompt;
            request.unconditional = flags.unconditional;
            request.negative_prompt = flags.negative_prompt;
            request.seed = seed;
            requests.insert(requests.end(), takes, request);
        }
    }
    return requests;
}

ClipFiles::ClipFiles(const std::string& out, const std::vector<SessionRequest>& requests, bool with_baseline,
                     bool force, std::span<const std::string> inputs, const std::string& strength)
    : out_(out), overwrite_(force ? Overwrite::kAllow : Overwrite::kRefuse) {
    const bool looks_like_file = is_audio_name(out_);
    const std::size_t takes = with_baseline ? 2 : 1;
    is_folder_ = requests.size() > takes || out.ends_with('/') || std::filesystem::is_directory(out_);
    if (is_folder_ && looks_like_file && !std::filesystem::is_directory(out_)) {
        throw UsageError("--out " + out + ": " + std::to_string(requests.size()) +
                         " clips need a folder, not one file");
    }
    if (!is_folder_ && !looks_like_file) {
        throw UsageError("--out " + out + ": clips are written as .wav, .flac, .ogg or .mp3: name it " +
                         std::filesystem::path(out_).replace_extension(".wav").string() +
                         ", or a folder with a / at its end");
    }
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const bool is_baseline = i % takes != 0;
        if (is_folder_) {
            const std::string name = clip_name(i / takes, requests[i], is_baseline ? "" : strength);
            wavs_.push_back(is_baseline ? baseline_of(out_ / name) : out_ / name);
        } else {
            wavs_.push_back(is_baseline ? baseline_of(out_) : out_);
        }
    }
    for (const std::filesystem::path& file : all()) check_writable(file, overwrite_, inputs);
}

std::vector<std::filesystem::path> ClipFiles::all() const {
    std::vector<std::filesystem::path> files = wavs_;
    if (is_folder_) {
        files.push_back(out_ / "clips.jsonl");
    } else {
        std::transform(wavs_.begin(), wavs_.end(), std::back_inserter(files), json_beside);
    }
    files.push_back(steering_file());
    return files;
}

bool ClipFiles::holds(const std::filesystem::path& path) const {
    const std::vector<std::filesystem::path> files = all();
    std::error_code ignored;
    const auto plain = [&](const std::filesystem::path& name) {
        return std::filesystem::weakly_canonical(std::filesystem::absolute(name), ignored);
    };
    return std::any_of(files.begin(), files.end(),
                       [&](const std::filesystem::path& file) { return plain(file) == plain(path); });
}

std::filesystem::path ClipFiles::wav(std::size_t index) const {
    return wavs_.at(index);
}

std::filesystem::path ClipFiles::steering_file() const {
    return is_folder_ ? out_ / "steering.json"
                      : std::filesystem::path(out_).replace_extension(".steering.json");
}

void ClipFiles::steering(const ClipSettings& settings, const std::vector<SteeringSetting>& steering,
                         const std::vector<SteeringSection>& sections) const {
    std::error_code ignored;
    if (steering.empty() && sections.empty()) {
        std::filesystem::remove(steering_file(), ignored);  // left by a replaced run
    } else {
        SteeringFile file;
        file.program_version = settings.version;
        file.model_name = settings.model_name;
        file.weights_sha256 = settings.weights_sha256;
        file.settings = steering;
        for (SteeringSetting& setting : file.settings) setting.alpha_range.reset();  // of a recommendation
        file.sections = sections;
        file.save(steering_file(), overwrite_);
    }
}

void ClipFiles::record(std::size_t index, const std::string& json_line) {
    if (!is_folder_) {
        write_file_atomically(json_beside(wav(index)), json_line + "\n", overwrite_);
    } else if (!log_) {
        write_file_atomically(out_ / "clips.jsonl", json_line + "\n", overwrite_);
        log_ = std::make_unique<RecordLog>(out_ / "clips.jsonl", RecordLog::Sync::kEachLine);
    } else {
        log_->append(json_line);
    }
}

AudioFinish FinishFlags::finish() const {
    AudioFinish finish{rate_hz, fade.empty() ? 0.0 : parse_fade(fade), loudness_lufs};
    finish.validate();
    return finish;
}

void add_finish_flags(CLI::App& command, FinishFlags& flags) {
    const auto known_rate = [](const std::string& text) {
        return text == "44100" || text == "48000" ? "" : in_quotes(text) + " is not 44100 or 48000";
    };
    command.add_option("--rate", flags.rate_hz, "Resample to 44100 or 48000 Hz")
        ->check(CLI::Validator(known_rate, ""))
        ->type_name("NUM");
    command
        .add_option("--loudness", flags.loudness_lufs,
                    "Bring each clip to this loudness, such as -14 (LUFS), by one gain; true peak\n"
                    "stays below -1 dBTP, and a gain that this did not allow is reported")
        ->check(number())
        ->type_name("NUM");
    command.add_option("--fade", flags.fade, "Fade both ends, such as 10ms")->type_name("TIME");
}

void report_finish(const std::filesystem::path& file, const AudioFinish& finish, const FinishedAudio& clip,
                   nlohmann::json& record) {
    if (finish.changes_nothing()) return;
    nlohmann::json done = nlohmann::json::object();
    if (finish.sample_rate_hz) done["sample_rate_hz"] = *finish.sample_rate_hz;
    if (finish.fade_s > 0.0) done["fade_s"] = finish.fade_s;
    if (finish.loudness_lufs) {
        done["loudness_lufs"] = *finish.loudness_lufs;
        done["gain_db"] = clip.gain_db;
    }
    record["finish"] = std::move(done);
    if (clip.missing_db > 0.05) {
        log_warn(file.string() + ": " + one_digit(clip.missing_db) + " dB below " +
                 to_text(*finish.loudness_lufs) + " LUFS, because its true peak may not exceed " +
                 to_text(kTruePeakCeilingDbtp) + " dBTP");
    }
}

}  // namespace musicsteer::cli
