#include "generation/clip_stream.hpp"

#include <ATen/ATen.h>

namespace musicsteer {
namespace {

Audio nothing_of(const Model& model) {
    Audio audio;
    audio.channels = model.manifest().decoder.channels * model.manifest().codec.channels;
    audio.sample_rate_hz = model.manifest().codec.sample_rate_hz;
    return audio;
}

}  // namespace

ClipStream::ClipStream(const Model& model, std::int64_t num_frames, SampleFormat format, WavStream::Sink sink)
    : codec_(model.codec.stream(num_frames)), wav_(nothing_of(model), format, std::move(sink)) {}

void ClipStream::listen_to(GenerationSession& session) {
    session.on_frame([this](std::int64_t, const at::Tensor& codes) {
        const at::Tensor samples = codec_.push(codes[0].unsqueeze(1)).t().contiguous();
        if (samples.numel() > 0)
            wav_.write({samples.const_data_ptr<float>(), static_cast<std::size_t>(samples.numel())});
    });
}

}  // namespace musicsteer
