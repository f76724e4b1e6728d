#include "model/codec_encoder.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/script_call.hpp"

namespace musicsteer {
namespace {

/// 10 s of MusicGen's.
constexpr std::int64_t kEncodedFrames = 500;

}  // namespace

CodecEncoder::CodecEncoder(const torch::jit::Module& module, const std::vector<std::int64_t>& reach,
                           std::int64_t hop_length)
    : module_(module),
      hop_length_(hop_length),
      input_reach_(reach_at(reach, 4)),
      output_reach_(reach_at(reach, 6)) {}

std::vector<CodecEncoder::Piece> CodecEncoder::pieces_of(std::int64_t frames, const CodecReach& reach) {
    std::vector<Piece> pieces;
    for (std::int64_t start = 0; start < frames; start += kEncodedFrames) {
        const std::int64_t end = std::min(frames, start + kEncodedFrames);
        pieces.push_back(
            {start, end, std::max<std::int64_t>(0, start - reach.left), std::min(frames, end + reach.right)});
    }
    return pieces;
}

at::Tensor CodecEncoder::call(const torch::jit::Module& part, const char* method,
                              const at::Tensor& input) const {
    return call_script(part.get_method(method), {input}, "codec").toTensor();
}

at::Tensor CodecEncoder::encode(const at::Tensor& samples) const {
    const std::int64_t frames = (samples.size(2) + hop_length_ - 1) / hop_length_;
    if (frames <= kEncodedFrames || !input_reach_ || !output_reach_) return call(module_, "encode", samples);
    const at::Tensor whole = latents(samples, frames);
    std::vector<at::Tensor> codes;
    for (const auto& [start, end, from, to] : pieces_of(frames, *output_reach_)) {
        const at::Tensor entries =
            call(module_.attr("encoder_out").toModule(), "forward", whole.narrow(2, from, to - from));
        codes.push_back(call(module_.attr("quantiser").toModule(), "quantise",
                             entries.narrow(2, start - from, end - start).contiguous()));
    }
    return at::cat(codes, 2);
}

/// What the LSTM makes of all frames, [B, W, T].
at::Tensor CodecEncoder::latents(const at::Tensor& samples, std::int64_t frames) const {
    const torch::jit::Module encoder = module_.attr("encoder").toModule();
    const torch::jit::Module lstm = module_.attr("encoder_lstm").toModule();
    c10::IValue state = call_script(lstm.get_method("initial_state"), {samples, samples.size(0)}, "codec");
    std::vector<at::Tensor> pieces;
    for (const auto& [start, end, from, to] : pieces_of(frames, *input_reach_)) {
        const std::int64_t last = std::min(samples.size(2), to * hop_length_);
        const at::Tensor heard =
            call(encoder, "forward", samples.narrow(2, from * hop_length_, last - from * hop_length_));
        const c10::IValue result = call_script(lstm.get_method("forward"),
                                               {heard.narrow(2, start - from, end - start), state}, "codec");
        pieces.push_back(result.toTupleRef().elements()[0].toTensor());
        state = result.toTupleRef().elements()[1];
    }
    return at::cat(pieces, 2);
}

}  // namespace musicsteer
