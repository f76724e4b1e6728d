#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <memory>
#include <string>
#include <vector>

#include "model/bundle.hpp"

namespace musicsteer {

struct CodecStages;

/// EnCodec. For stereo models a mono codec runs on left and right, whose codebooks are interleaved.
class Codec {
  public:
    explicit Codec(const Bundle& bundle);

    /// Decoded in pieces by all threads; a clip's samples do not depend on the other clips.
    /// @param codes  [B, K, T] int64 on the CPU (K of the decoder, both channels for stereo), T > 0
    /// @return samples [B, C, N] float32 on the CPU
    /// @throws ModelError
    at::Tensor decode(const at::Tensor& codes) const;
    /// @param samples  [B, C, N] float32 at the model's sample rate
    /// @return codes [B, K, T] int64 on the CPU
    at::Tensor encode(const at::Tensor& samples) const;

  private:
    c10::IValue call(const std::string& method, std::vector<c10::IValue> arguments) const;
    at::Tensor decode_tracks(const at::Tensor& codes) const;

    CodecDims dims_;
    std::int64_t parts_;          ///< 2 where a mono codec decodes left and right by themselves, else 1
    std::int64_t num_codebooks_;  ///< of the decoder
    c10::Device device_;
    mutable torch::jit::Module module_;
    std::shared_ptr<CodecStages> stages_;  ///< on the CPU
};

}  // namespace musicsteer
