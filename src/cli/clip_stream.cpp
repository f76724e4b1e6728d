#include "clip_stream.hpp"

#include <ATen/ATen.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "audio/wav_stream.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer::cli {
namespace {

Audio nothing_of(const Model& model) {
    Audio audio;
    audio.channels = model.manifest().decoder.channels * model.manifest().codec.channels;
    audio.sample_rate_hz = model.manifest().codec.sample_rate_hz;
    return audio;
}

void write_stdout(std::span<const char> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = write(STDOUT_FILENO, bytes.data(), bytes.size());
        if (count >= 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        } else if (errno == EPIPE) {
            throw ReaderGone();
        } else if (errno != EINTR) {
            throw OutputError(std::string("standard output could not be written: ") + std::strerror(errno));
        }
    }
}

}  // namespace

struct ClipStream::Output {
    CodecStream codec;
    WavStream wav;

    Output(const Model& model, std::int64_t num_frames, SampleFormat format)
        : codec(model.codec.stream(num_frames)), wav(nothing_of(model), format, write_stdout) {}
};

void ClipStream::check_stdout() {
    if (isatty(STDOUT_FILENO))
        throw UsageError(
            "--out - writes a WAV to stdout, which is a terminal: pipe it, as in ... | ffplay -");
}

ClipStream::ClipStream(const Model& model, std::int64_t num_frames, SampleFormat format) {
    std::signal(SIGPIPE, SIG_IGN);  // write() says it
    output_ = std::make_unique<Output>(model, num_frames, format);
}

ClipStream::~ClipStream() = default;

void ClipStream::listen_to(GenerationSession& session) {
    session.on_frame([this](std::int64_t, const at::Tensor& codes) {
        const at::Tensor samples = output_->codec.push(codes[0].unsqueeze(1)).t().contiguous();
        if (samples.numel() > 0)
            output_->wav.write({samples.const_data_ptr<float>(), static_cast<std::size_t>(samples.numel())});
    });
}

}  // namespace musicsteer::cli
