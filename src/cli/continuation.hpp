#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "experiments/clip_record.hpp"
#include "generation/generation_session.hpp"
#include "musicsteer/audio_file.hpp"

namespace musicsteer::cli {

/// --continue and --continue-from.
struct ContinueFlags {
    std::string file;
    std::string from;
};

/// What clips go on from: a recording, or codes that --save-codes wrote.
class Continuation {
  public:
    /// Reads the file; nothing without --continue. @throws UsageError, InputError
    static std::optional<Continuation> open(const ContinueFlags& flags);

    /// Holds it to the model and cuts it. @param num_frames  of each clip; @param clips  how many there are
    /// @throws UsageError, InputError
    void cut(const Manifest& manifest, std::int64_t num_frames, std::size_t clips);
    /// Gives each request its codes; a recording is encoded. After cut().
    void give_to(std::vector<SessionRequest>& requests, const Model& model);
    const ContinuedFrom& record() const { return record_; }

  private:
    [[noreturn]] void refuse(const std::string& reason) const;
    std::string seconds(std::int64_t frames, const Manifest& manifest) const;

    std::optional<double> from_s_;
    ContinuedFrom record_;
    std::optional<Audio> recording_;  ///< or else
    at::Tensor codes_;                ///< [B, K, T0]
    std::string weights_sha256_;      ///< of the model that made them; empty: not known
};

}  // namespace musicsteer::cli
