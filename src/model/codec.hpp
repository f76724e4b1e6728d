#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <memory>
#include <string>
#include <vector>

#include "bundle/bundle.hpp"

namespace musicsteer {

class CodecEncoder;
class CodecPipeline;
struct CodecStages;

/// Decodes a clip while its codes arrive; the samples are those of Codec::decode.
class CodecStream {
  public:
    CodecStream(std::unique_ptr<CodecPipeline> pipeline, std::int64_t parts, std::int64_t hop_length);
    CodecStream(CodecStream&&) noexcept;
    ~CodecStream();

    /// @param codes  [K, T] int64 on the CPU, the next frames
    /// @return the samples that they complete, [C, n] float32; n may be 0
    /// @throws ModelError
    at::Tensor push(const at::Tensor& codes);

  private:
    std::unique_ptr<CodecPipeline> pipeline_;
    std::int64_t parts_;
    std::int64_t hop_length_;
};

/// EnCodec. For stereo models a mono codec runs on left and right, whose codebooks are interleaved.
class Codec {
  public:
    explicit Codec(const Bundle& bundle);

    /// Decoded in pieces by all threads. A clip's samples do not depend on the other clips, nor, except for
    /// the last frames, on its length.
    /// @param codes  [B, K, T] int64 on the CPU (K of the decoder, both channels for stereo), T > 0
    /// @return samples [B, C, N] float32 on the CPU
    /// @throws ModelError
    at::Tensor decode(const at::Tensor& codes) const;
    /// The same piece by piece. @param num_frames  N of the clip. The result must not outlive the codec.
    CodecStream stream(std::int64_t num_frames) const;
    /// In pieces, so that long recordings take no more memory than short ones (codec_encoder.hpp).
    /// @param samples  [B, C, N] float32 at the model's sample rate
    /// @return codes [B, K, T] int64 on the CPU
    at::Tensor encode(const at::Tensor& samples) const;

  private:
    c10::IValue call(const std::string& method, std::vector<c10::IValue> arguments) const;

    CodecDims dims_;
    std::int64_t parts_;          ///< 2 if a mono codec decodes left and right separately, else 1
    std::int64_t num_codebooks_;  ///< of the decoder
    c10::Device device_;
    mutable torch::jit::Module module_;
    std::shared_ptr<CodecStages> stages_;
    std::shared_ptr<CodecEncoder> encoder_;
};

}  // namespace musicsteer
