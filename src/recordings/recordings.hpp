#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "audio/tempo.hpp"
#include "bundle/manifest.hpp"
#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// A number that can be measured on each recording.
enum class RecordingValue { kNone, kTempo, kCentroid };
/// "tempo", "centroid". @throws UsageError
RecordingValue parse_recording_value(const std::string& name);
/// The measure's name as in files: "tempo_bpm", "spectral_centroid_hz"; "" for kNone.
std::string measure_name(RecordingValue value);

/// One recording as the model can hear it.
struct Recording {
    std::filesystem::path file;
    std::string sha256;           ///< of the file
    Audio audio;                  ///< at the model's rate and channels, cut to whole frames of the codec
    std::int64_t num_frames = 0;  ///< of the codec
    std::optional<double> value;  ///< measured on `audio`
};

struct RecordingOptions {
    double duration_s = 8.0;              ///< longer recordings are cut
    std::string positions = "generated";  ///< see parse_positions; a recording must reach into them
    RecordingValue value = RecordingValue::kNone;
    TempoPrior tempo_prior;
    /// Called for each unusable file, with its name and the reason.
    std::function<void(const std::string& message)> on_skip;
};

struct RecordingFolder {
    std::vector<Recording> recordings;  ///< in the order of their names
    std::int64_t skipped = 0;
};

/// Recordings shorter than this are skipped.
inline constexpr double kShortestRecording_s = 0.25;
/// Recordings whose samples all stay below this (-60 dB of full scale) are silent and skipped.
inline constexpr float kSilentPeak = 1e-3F;
/// Each side needs this many.
inline constexpr std::size_t kMinRecordings = 2;

/// Reads every file of a folder, except subfolders and hidden files. Files that are not audio, too short,
/// silent, or without the measure are skipped.
/// @throws InputError if the folder cannot be read or fewer than kMinRecordings remain; UsageError
RecordingFolder load_recordings(const std::filesystem::path& folder, const Manifest& manifest,
                                const RecordingOptions& options);

/// Two sides of recordings.
struct RecordingSides {
    std::string concept_name;
    std::string positive_label;
    std::string negative_label;
    std::vector<Recording> positive;
    std::vector<Recording> negative;
    RecordingValue value = RecordingValue::kNone;  ///< if set, each recording has a value
    std::int64_t skipped = 0;
};

/// Two folders, one for each side, labelled by the folders' names.
RecordingSides sides_of(RecordingFolder positive, RecordingFolder negative,
                        const std::filesystem::path& positive_folder,
                        const std::filesystem::path& negative_folder, RecordingValue value);
/// One folder, the positive side, and "generated" as the negative one.
RecordingSides sides_like(RecordingFolder folder, const std::filesystem::path& path);
/// One folder: the larger half of the values is the positive side, "high", the rest "low".
/// @throws InputError if all values are the same
RecordingSides sides_by_value(RecordingFolder folder, const std::filesystem::path& path,
                              RecordingValue value);

}  // namespace musicsteer
