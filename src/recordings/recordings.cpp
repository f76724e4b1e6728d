#include "recordings/recordings.hpp"

#include <algorithm>
#include <cmath>
#include <system_error>

#include "audio/audio_conversion.hpp"
#include "base/numbers.hpp"
#include "base/statistics.hpp"
#include "generation/activations.hpp"
#include "generation/generation_session.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/metrics.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_in(const fs::path& folder) {
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
        throw InputError(folder.string() + ": expected a folder of recordings, found " +
                         (fs::exists(folder, error) ? "a file" : "nothing"));
    }
    std::vector<fs::path> files;
    fs::directory_iterator entries(folder, error);
    if (error) throw InputError(folder.string() + ": cannot be read: " + error.message());
    for (const fs::directory_entry& entry : entries) {
        if (entry.is_directory(error) || entry.path().filename().string().starts_with('.')) continue;
        // Written by generate and sweep beside their clips.
        if (entry.path().extension() == ".json" || entry.path().extension() == ".jsonl") continue;
        files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

double measure(const Audio& audio, const RecordingOptions& options) {
    const AudioMeasures measures = measure_audio(audio, {options.tempo_prior});
    if (options.value == RecordingValue::kCentroid) return measures.spectral_centroid_hz;
    if (!measures.tempo_bpm) throw InputError("has no tempo, because it has no onsets");
    return *measures.tempo_bpm;
}

/// @throws InputError that says what is wrong with it
Recording read_recording(const fs::path& file, const Manifest& manifest, const RecordingOptions& options) {
    const std::int64_t rate = manifest.codec.sample_rate_hz;
    const std::int64_t channels = manifest.decoder.channels * manifest.codec.channels;
    Recording recording{file, "", read_audio(file), 0, std::nullopt};
    Audio& audio = recording.audio;
    // Cut before resampling, which saves time. The margin is wider than the converter's filter.
    constexpr double kMargin_s = 1.0;
    const double kept_s = options.duration_s + kMargin_s;
    if (audio.duration_s() > kept_s) {
        const auto kept = static_cast<std::int64_t>(kept_s * static_cast<double>(audio.sample_rate_hz));
        audio.samples.resize(static_cast<std::size_t>(kept * audio.channels));
    }
    audio = converted(audio, rate, channels);
    recording.num_frames =
        std::min(manifest.frames_of(options.duration_s), audio.frames() / manifest.codec.hop_length);
    audio.samples.resize(
        static_cast<std::size_t>(recording.num_frames * manifest.codec.hop_length * channels));
    if (audio.duration_s() < std::min(kShortestRecording_s, options.duration_s) * 0.999)
        throw InputError("too short: " + to_text(audio.duration_s()) + " s");
    try {
        parse_positions(options.positions, recording.num_frames, manifest.codec.frame_rate_hz);
    } catch (const UsageError& error) {
        throw InputError(error.what());
    }
    if (std::all_of(audio.samples.begin(), audio.samples.end(),
                    [](float sample) { return std::abs(sample) < kSilentPeak; })) {
        throw InputError("silent");
    }
    if (options.value != RecordingValue::kNone) recording.value = measure(audio, options);
    recording.sha256 = sha256_of_file(file);
    return recording;
}

std::string name_of(const fs::path& folder) {
    const fs::path normal = fs::absolute(folder).lexically_normal();
    return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
}

}  // namespace

RecordingValue parse_recording_value(const std::string& name) {
    static const std::vector<std::string> kNames = {"tempo", "centroid"};
    if (name == "tempo") return RecordingValue::kTempo;
    if (name == "centroid") return RecordingValue::kCentroid;
    throw UsageError("value: expected tempo or centroid, found " + in_quotes(name) +
                     did_you_mean(name, kNames));
}

std::string measure_name(RecordingValue value) {
    if (value == RecordingValue::kNone) return "";
    return value == RecordingValue::kTempo ? "tempo_bpm" : "spectral_centroid_hz";
}

RecordingFolder load_recordings(const fs::path& folder, const Manifest& manifest,
                                const RecordingOptions& options) {
    SessionOptions session;
    session.num_frames = manifest.frames_of(options.duration_s);
    session.validate(manifest);
    parse_positions(options.positions, session.num_frames, manifest.codec.frame_rate_hz);
    RecordingFolder result;
    for (const fs::path& file : files_in(folder)) {
        try {
            result.recordings.push_back(read_recording(file, manifest, options));
        } catch (const InputError& error) {
            ++result.skipped;
            const std::string reason = error.what();
            const bool is_named = reason.starts_with(file.string());
            if (options.on_skip)
                options.on_skip("skipped " + (is_named ? reason : file.string() + ": " + reason));
        }
    }
    if (result.recordings.size() < kMinRecordings) {
        throw InputError(folder.string() + ": expected at least " + std::to_string(kMinRecordings) +
                         " usable recordings, found " + std::to_string(result.recordings.size()) + " (and " +
                         std::to_string(result.skipped) + " skipped)");
    }
    return result;
}

RecordingSides sides_of(RecordingFolder positive, RecordingFolder negative, const fs::path& positive_folder,
                        const fs::path& negative_folder, RecordingValue value) {
    RecordingSides sides;
    sides.positive_label = name_of(positive_folder);
    sides.negative_label = name_of(negative_folder);
    if (sides.positive_label == sides.negative_label) {
        sides.positive_label = "positive";
        sides.negative_label = "negative";
    }
    sides.concept_name = sides.positive_label;
    sides.positive = std::move(positive.recordings);
    sides.negative = std::move(negative.recordings);
    sides.value = value;
    sides.skipped = positive.skipped + negative.skipped;
    return sides;
}

RecordingSides sides_like(RecordingFolder folder, const fs::path& path) {
    return sides_of(std::move(folder), {}, path, "generated", RecordingValue::kNone);
}

RecordingSides sides_by_value(RecordingFolder folder, const fs::path& path, RecordingValue value) {
    std::vector<double> values;
    for (const Recording& recording : folder.recordings) values.push_back(recording.value.value());
    std::vector<bool> larger;
    try {
        larger = larger_half(values);
    } catch (const UsageError&) {
        throw InputError(path.string() + ": all recordings have the same " + measure_name(value) +
                         ": there is nothing to fit to");
    }
    RecordingSides sides;
    sides.concept_name = value == RecordingValue::kTempo ? "tempo" : "centroid";
    sides.positive_label = "high";
    sides.negative_label = "low";
    sides.value = value;
    sides.skipped = folder.skipped;
    for (std::size_t i = 0; i < values.size(); ++i)
        (larger[i] ? sides.positive : sides.negative).push_back(std::move(folder.recordings[i]));
    return sides;
}

}  // namespace musicsteer
