#pragma once

#include <cstdint>

#include "audio/wav_stream.hpp"
#include "generation/generation_session.hpp"

namespace musicsteer {

/// One clip as a WAV that is written piece by piece while its codes arrive.
class ClipStream {
  public:
    /// Writes the header. @throws OutputError; what the sink throws
    ClipStream(const Model& model, std::int64_t num_frames, SampleFormat format, WavStream::Sink sink);

    /// Receives the frames of a session's first clip. The session's steps may then throw what the sink
    /// throws.
    void listen_to(GenerationSession& session);

  private:
    CodecStream codec_;
    WavStream wav_;
};

}  // namespace musicsteer
