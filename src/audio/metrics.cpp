#include "musicsteer/metrics.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "audio/levels.hpp"
#include "audio/loudness.hpp"
#include "audio/onsets.hpp"
#include "audio/spectrum.hpp"
#include "audio/tempo.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

void check_samples(const Audio& audio) {
    if (audio.frames() < 1 || audio.sample_rate_hz < 1)
        throw InputError("holds no samples: there is nothing to measure");
    for (std::size_t i = 0; i < audio.samples.size(); ++i) {
        if (std::isfinite(audio.samples[i])) continue;
        throw ModelError("audio to be measured: sample " + std::to_string(i) + " is not finite");
    }
}

nlohmann::json or_null(const std::optional<double>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace

AudioMeasures measure_audio(const Audio& audio, const MeasureOptions& options) {
    const c10::InferenceMode guard;
    check_samples(audio);
    const Loudness loudness = measure_loudness(audio);
    SpectralAverager spectra(audio.sample_rate_hz);
    OnsetEnvelope onset_envelope(audio.sample_rate_hz);
    LevelAverager frame_levels;
    // Both hops are powers of two, so the frames of the longer one are among those of the shorter.
    const std::int64_t onset_hop = onset_hop_length(audio.sample_rate_hz);
    const std::int64_t hop = std::min(kHopLength, onset_hop);
    for_each_frame_block(audio, {.hop = hop}, [&](const FrameBlock& block) {
        const at::Tensor magnitude = every(block, block.magnitude, kHopLength / hop);
        if (magnitude.size(0) > 0) {
            spectra.add(magnitude);
            frame_levels.add(every(block, block.samples, kHopLength / hop));
        }
        onset_envelope.add(every(block, block.magnitude, onset_hop / hop));
    });
    const SpectralMeans spectrum = spectra.means();
    const Levels levels = frame_levels.levels();
    const std::vector<float> envelope = onset_envelope.finish();
    const std::vector<std::int64_t> onsets = pick_onsets(envelope, audio.sample_rate_hz);
    return {
        .duration_s = audio.duration_s(),
        .sample_rate_hz = audio.sample_rate_hz,
        .tempo_bpm = estimate_tempo_bpm(envelope, audio.sample_rate_hz, options.tempo_prior),
        .tempo_prior = options.tempo_prior,
        .onset_rate_hz = static_cast<double>(onsets.size()) / audio.duration_s(),
        .spectral_centroid_hz = spectrum.centroid_hz,
        .spectral_rolloff_hz = spectrum.rolloff_hz,
        .spectral_bandwidth_hz = spectrum.bandwidth_hz,
        .spectral_flatness = spectrum.flatness,
        .rms = levels.rms,
        .loudness_lufs = loudness.integrated_lufs,
        .true_peak_dbtp = loudness.true_peak_dbtp,
        .silence_share = levels.silence_share,
        .clipped_samples = count_full_scale_samples(audio),
    };
}

nlohmann::json measures_json(const AudioMeasures& measures) {
    return {
        {"tempo_bpm", or_null(measures.tempo_bpm)},
        {"tempo_prior", measures.tempo_prior.text()},
        {"onset_rate_hz", measures.onset_rate_hz},
        {"spectral_centroid_hz", measures.spectral_centroid_hz},
        {"spectral_rolloff_hz", measures.spectral_rolloff_hz},
        {"spectral_bandwidth_hz", measures.spectral_bandwidth_hz},
        {"spectral_flatness", measures.spectral_flatness},
        {"rms", measures.rms},
        {"loudness_lufs", or_null(measures.loudness_lufs)},
        {"true_peak_dbtp", or_null(measures.true_peak_dbtp)},
        {"silence_share", measures.silence_share},
        {"clipped_samples", measures.clipped_samples},
        {"duration_s", measures.duration_s},
        {"sample_rate_hz", measures.sample_rate_hz},
    };
}

}  // namespace musicsteer
