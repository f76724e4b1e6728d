#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "generation/generation_session.hpp"
#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// What a clip continues, as recorded.
struct ContinuedFrom {
    std::string file;
    std::string sha256;
    std::int64_t frames = 0;  ///< that are kept
};

/// What clips continue: a recording, or codes that --save-codes wrote.
class Continuation {
  public:
    /// Reads the file; nothing if there is none. @param from  where to cut it, "4s", or empty
    /// @throws UsageError, InputError
    static std::optional<Continuation> open(const std::string& file, const std::string& from);

    /// Checks that it fits the model, and cuts it. @param num_frames  of each clip @param clips  their number
    /// @throws UsageError, InputError
    void cut(const Manifest& manifest, std::int64_t num_frames, std::size_t clips,
             const std::function<void(const std::string&)>& on_warning);
    /// Gives each request its codes; a recording is encoded. Call cut() first.
    void give_to(std::vector<SessionRequest>& requests, const Model& model);
    const ContinuedFrom& record() const { return record_; }

  private:
    [[noreturn]] void refuse(const std::string& reason) const;
    std::string seconds(std::int64_t frames, const Manifest& manifest) const;

    std::optional<double> from_s_;
    ContinuedFrom record_;
    std::optional<Audio> recording_;  ///< or else
    at::Tensor codes_;                ///< [B, K, T0]
    std::string weights_sha256_;      ///< of the model that made them; empty if unknown
};

}  // namespace musicsteer
