#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bundle/manifest.hpp"
#include "generation/continuation.hpp"
#include "generation/sampler.hpp"
#include "generation/windows.hpp"
#include "musicsteer/setting.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer {

/// The program's version, as in records.
std::string program_version();

/// What all clips of a run share.
struct ClipSettings {
    std::string version = program_version();
    std::string model_name;
    std::string weights_sha256;
    double duration_s = 0.0;
    std::int64_t num_frames = 0;
    std::optional<WindowShape> windows;  ///< none: the clip fits into one window
    std::string melody_sha256;           ///< of the melody's file; "": none
    std::int64_t sample_rate_hz = 0;
    std::string sample_format = "pcm16";
    SamplingOptions sampling;
    std::int64_t batch_size = 0;
    std::int64_t threads = 0;
    std::string device = "cpu";
    std::map<std::string, std::string> precision;  ///< module -> "f32"

    /// Settings from the model and these options; the caller sets batch size, threads and device.
    static ClipSettings of(const Manifest& manifest, double duration_s, const SamplingOptions& sampling);
};

/// The key `execution` of records, plans and patch files.
nlohmann::json execution_json(const ClipSettings& settings);

/// What is specific to a clip.
struct ClipSpec {
    std::optional<std::string> prompt;  ///< none: unconditional
    std::optional<std::string> negative_prompt;
    std::uint64_t seed = 0;
    std::int64_t text_length = 0;
    std::vector<SteeringSetting> steering;  ///< resolved; empty: unsteered
    std::vector<SteeringSection> sections;  ///< resolved
    std::optional<ContinuedFrom> continued;
};

/// Everything that determines the clip, and nothing that depends on the clock: its record without the fields
/// that are known when it is finished (file, clipped_samples, ...).
nlohmann::json clip_record(const ClipSettings& settings, const ClipSpec& clip);

/// IDs of clips that differ only in seed and steering: 20 hexadecimal digits of the SHA-256 of everything
/// that determines a clip's bytes (docs/formats.md). Hashes of files and models count, their names do not.
class ClipIds {
  public:
    /// @param clip  seed and steering are ignored
    ClipIds(const ClipSettings& settings, ClipSpec clip);

    /// @param steering  of steering_text
    std::string id(std::uint64_t seed, const std::string& steering) const;
    static std::string steering_text(const std::vector<SteeringSetting>& steering);

  private:
    std::string before_seed_;
    std::string after_steering_;
};

/// The columns of runs.csv, which has own measures before the last two.
std::vector<std::string> table_columns();

/// The ID of one clip.
std::string clip_id(const ClipSettings& settings, const ClipSpec& clip);

}  // namespace musicsteer
