#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "model/codec_pipeline.hpp"

namespace musicsteer {

/// EnCodec's encoder on one channel of a recording, in pieces: memory does not grow with the recording's
/// length, but for what the LSTM says of each frame (2 KB in MusicGen's codec) and the codes.
///
/// A piece takes as many frames more on each side as the convolutions read, which are cut off again, and the
/// LSTM's state goes on from piece to piece. That gives what a whole recording gives but for rounding, so a
/// code may differ where two entries of a codebook are as near. A recording of one piece is encoded at once.
class CodecEncoder {
  public:
    /// @param module  codec.pt  @param reach  what its method `reach` says; a module that does not say how
    /// far its encoder reads is never cut
    CodecEncoder(const torch::jit::Module& module, const std::vector<std::int64_t>& reach,
                 std::int64_t hop_length);

    /// @param samples  [B, C, N] float32 on the module's device
    /// @return codes [B, Kc, T] int64, T = ceil(N / hop)
    at::Tensor encode(const at::Tensor& samples) const;

  private:
    /// Frames [start, end) of a recording, and what a part of the encoder reads to compute them: [from, to).
    struct Piece {
        std::int64_t start = 0, end = 0, from = 0, to = 0;
    };

    static std::vector<Piece> pieces_of(std::int64_t frames, const CodecReach& reach);
    at::Tensor call(const torch::jit::Module& part, const char* method, const at::Tensor& input) const;
    at::Tensor latents(const at::Tensor& samples, std::int64_t frames) const;

    torch::jit::Module module_;
    std::int64_t hop_length_;
    std::optional<CodecReach> input_reach_, output_reach_;  ///< of the convolutions before and after the LSTM
};

}  // namespace musicsteer
