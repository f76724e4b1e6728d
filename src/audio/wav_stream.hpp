#pragma once

#include <functional>
#include <memory>
#include <span>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// A WAV of unknown length, written to something that cannot be rewound, such as a pipe.
/// The header says so (sizes of 0xFFFFFFFF); the samples are those that write_wav writes.
class WavStream {
  public:
    /// Receives the bytes of the file, in order.
    using Sink = std::function<void(std::span<const char> bytes)>;

    /// @param like  gives rate and channels; its samples are not written
    /// @throws OutputError
    WavStream(const Audio& like, SampleFormat format, Sink sink);
    WavStream(const WavStream&) = delete;
    WavStream& operator=(const WavStream&) = delete;
    ~WavStream();

    /// @param samples  interleaved
    /// @throws OutputError; @throws ModelError if a sample is not finite; what the sink throws
    void write(std::span<const float> samples);

  private:
    struct File;
    std::unique_ptr<File> file_;
};

}  // namespace musicsteer
