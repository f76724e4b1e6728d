#include "finish_options.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer::cli {
namespace {

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

AudioFinish FinishFlags::finish() const {
    AudioFinish finish{rate_hz, fade.empty() ? 0.0 : parse_fade(fade), loudness_lufs};
    finish.validate();
    return finish;
}

void add_finish_flags(CLI::App& command, FinishFlags& flags) {
    command.add_option("--rate", flags.rate_hz, "Resample to 44100 or 48000 Hz")
        ->check(CLI::IsMember({44100, 48000}))
        ->type_name("NUM");
    command
        .add_option("--loudness", flags.loudness_lufs,
                    "Bring each clip to this loudness, such as -14 (LUFS), by one gain; true peak\n"
                    "stays below -1 dBTP, and what that did not allow is said")
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
