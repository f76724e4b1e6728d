#include "clip_outputs.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iterator>

#include "base/numbers.hpp"
#include "directions/prompt_choice.hpp"
#include "io/atomic_file.hpp"
#include "musicsteer/errors.hpp"
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

std::string clip_name(std::size_t number, const SessionRequest& request) {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%04zu", number);
    const std::string slug = request.unconditional ? "unconditional" : slug_of(request.prompt);
    return std::string(digits) + (slug.empty() ? "" : "-" + slug) + "-s" + std::to_string(request.seed) +
           ".wav";
}

/// clip.wav -> clip-unsteered.wav
std::filesystem::path baseline_of(const std::filesystem::path& wav) {
    return std::filesystem::path(wav).replace_filename(wav.stem().string() + "-unsteered.wav");
}

std::filesystem::path json_beside(std::filesystem::path wav) {
    return wav.replace_extension(".json");
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
            throw UsageError("nothing to generate: give --prompt, --prompts-file or --unconditional");
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
                     bool force, std::span<const std::string> inputs)
    : out_(out), overwrite_(force ? Overwrite::kAllow : Overwrite::kRefuse) {
    const bool looks_like_file = out_.extension() == ".wav";
    const std::size_t takes = with_baseline ? 2 : 1;
    if (out == "-") throw UsageError("--out -: clips are not written to stdout; name a WAV file or a folder");
    is_folder_ = requests.size() > takes || out.ends_with('/') || std::filesystem::is_directory(out_);
    if (is_folder_ && looks_like_file && !std::filesystem::is_directory(out_)) {
        throw UsageError("--out " + out + ": " + std::to_string(requests.size()) +
                         " clips need a folder, not one WAV file");
    }
    if (!is_folder_ && !looks_like_file) {
        throw UsageError("--out " + out + ": clips are written as WAV: name it " +
                         std::filesystem::path(out_).replace_extension(".wav").string() +
                         ", or a folder with a / at its end");
    }
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const std::filesystem::path wav = is_folder_ ? out_ / clip_name(i / takes, requests[i]) : out_;
        wavs_.push_back(i % takes == 0 ? wav : baseline_of(wav));
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

void ClipFiles::steering(const ClipSettings& settings, const std::vector<SteeringSetting>& steering) const {
    std::error_code ignored;
    if (steering.empty()) {
        std::filesystem::remove(steering_file(), ignored);  // of a run that is replaced
    } else {
        SteeringFile file;
        file.program_version = settings.version;
        file.model_name = settings.model_name;
        file.weights_sha256 = settings.weights_sha256;
        file.settings = steering;
        for (SteeringSetting& setting : file.settings) setting.alpha_range.reset();  // of a recommendation
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

}  // namespace musicsteer::cli
