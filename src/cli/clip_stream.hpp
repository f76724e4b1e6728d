#pragma once

#include <cstdint>
#include <memory>

#include "generation/generation_session.hpp"
#include "musicsteer/audio_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer::cli {

/// Whoever read stdout has stopped reading: nothing is wrong, and nothing is left to do.
class ReaderGone : public Interrupted {
  public:
    ReaderGone() : Interrupted("nobody reads stdout any more") {}
};

/// One clip as a WAV on stdout, piece by piece while its codes come (`generate --out -`).
class ClipStream {
  public:
    /// @throws UsageError if stdout is a terminal
    static void check_stdout();

    /// Writes the header. @throws ReaderGone, OutputError
    ClipStream(const Model& model, std::int64_t num_frames, SampleFormat format);
    ~ClipStream();

    /// Takes the frames of a session's first clip; its steps may then throw as the constructor does.
    void listen_to(GenerationSession& session);

  private:
    struct Output;
    std::unique_ptr<Output> output_;
};

}  // namespace musicsteer::cli
