#include "model/codec.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/shapes.hpp"
#include "kernels/elu.hpp"
#include "kernels/processor.hpp"
#include "model/codec_encoder.hpp"
#include "model/codec_pipeline.hpp"
#include "model/script_call.hpp"

namespace musicsteer {
namespace {

/// Codes [B, K, T] as the codec's tracks, [parts x B, K / parts, T]: codebooks of left and right are
/// interleaved.
at::Tensor tracks_of(const at::Tensor& codes, std::int64_t parts) {
    std::vector<at::Tensor> tracks;
    for (std::int64_t part = 0; part < parts; ++part)
        tracks.push_back(codes.slice(1, part, c10::nullopt, parts));
    return at::cat(tracks);
}

/// Samples of the tracks, [parts x B, C, N], as [B, parts x C, N].
at::Tensor channels_of(const at::Tensor& samples, std::int64_t parts) {
    return at::cat(samples.chunk(parts), 1);
}

/// A layer packed for the CPU.
LstmStage cpu_stage(const torch::jit::Module& module) {
    const auto layer =
        std::make_shared<LstmLayer>(module.attr("weight_ih").toTensor(), module.attr("weight_hh").toTensor(),
                                    module.attr("bias_ih").toTensor(), module.attr("bias_hh").toTensor());
    return {[layer](std::int64_t rows) { return layer->initial_state(rows); },
            [layer](const at::Tensor& x, at::Tensor& state) { return layer->run(x, state); }};
}

/// The module itself, on its device. The state is (h, c) as [2, rows, W].
LstmStage device_stage(const torch::jit::Module& module) {
    const at::Tensor weight = module.attr("weight_hh").toTensor();
    return {[weight](std::int64_t rows) {
                return at::zeros({2, rows, weight.size(1)}, weight.options());
            },
            [module, weight](const at::Tensor& x, at::Tensor& state) {
                const at::Tensor columns = x.to(weight.scalar_type()).transpose(0, 1).contiguous();
                const c10::IValue result =
                    call_script(module.get_method("forward"),
                                {columns, state.narrow(0, 0, 1), state.narrow(0, 1, 1)}, "codec");
                const auto& parts = result.toTupleRef().elements();
                state = at::cat({parts[1].toTensor(), parts[2].toTensor()});
                return parts[0].toTensor().transpose(0, 1);
            }};
}

}  // namespace

Codec::Codec(const Bundle& bundle)
    : dims_(bundle.manifest().codec),
      parts_(bundle.manifest().decoder.channels),
      num_codebooks_(bundle.manifest().decoder.num_codebooks),
      device_(bundle.device()),
      module_(bundle.load_module("codec.pt")) {
    const c10::InferenceMode guard;
    stages_ = std::make_shared<CodecStages>();
    stages_->one_thread = !device_.is_cpu();
    if (device_.is_cpu()) use_fast_elu(module_.get_method("decode_wave"));
    // Without instructions for bfloat16, LibTorch is slower in it than in float32, and lacks some products.
    if (device_.is_cpu() && !has_avx512_bf16()) module_.to(at::kFloat);
    stages_->channels = dims_.channels;
    stages_->hop_length = dims_.hop_length;
    stages_->lstm_input = [module = module_, device = device_](const at::Tensor& codes) {
        return call_script(module.get_method("lstm_input"), {codes.to(device)}, "codec").toTensor();
    };
    stages_->decode_wave = [module = module_](const at::Tensor& latent) {
        return call_script(module.get_method("decode_wave"), {latent}, "codec").toTensor();
    };
    for (const torch::jit::Module& layer :
         module_.attr("decoder_lstm").toModule().attr("layers").toModule().children())
        stages_->lstm.push_back(device_.is_cpu() ? cpu_stage(layer) : device_stage(layer));
    const std::vector<std::int64_t> reach = call("reach", {}).toIntVector();
    stages_->input_reach = reach_at(reach, 0);
    stages_->wave_reach = reach_at(reach, 2);
    encoder_ = std::make_shared<CodecEncoder>(module_, reach, dims_.hop_length);
}

c10::IValue Codec::call(const std::string& method, std::vector<c10::IValue> arguments) const {
    return call_script(module_.get_method(method), std::move(arguments), "codec");
}

at::Tensor Codec::decode(const at::Tensor& codes) const {
    const c10::InferenceMode guard;
    check_shape(codes, {kAnySize, num_codebooks_, kAnySize}, "codec codes");
    const at::Tensor tracks = tracks_of(codes, parts_);
    CodecPipeline pipeline(*stages_, tracks.size(0), tracks.size(1), tracks.size(2));
    pipeline.push(tracks);
    const at::Tensor samples = channels_of(pipeline.samples(), parts_);
    check_shape(samples, {codes.size(0), parts_ * dims_.channels, codes.size(2) * dims_.hop_length},
                "codec samples");
    return samples;
}

CodecStream Codec::stream(std::int64_t num_frames) const {
    return {std::make_unique<CodecPipeline>(*stages_, parts_, num_codebooks_ / parts_, num_frames), parts_,
            dims_.hop_length};
}

CodecStream::CodecStream(std::unique_ptr<CodecPipeline> pipeline, std::int64_t parts, std::int64_t hop_length)
    : pipeline_(std::move(pipeline)), parts_(parts), hop_length_(hop_length) {}
CodecStream::CodecStream(CodecStream&&) noexcept = default;
CodecStream::~CodecStream() = default;

at::Tensor CodecStream::push(const at::Tensor& codes) {
    const c10::InferenceMode guard;
    const std::int64_t before = pipeline_->frames_done();
    pipeline_->push(tracks_of(codes.unsqueeze(0), parts_));
    const std::int64_t frames = pipeline_->frames_done() - before;
    return channels_of(pipeline_->samples().narrow(2, before * hop_length_, frames * hop_length_), parts_)[0];
}

at::Tensor Codec::encode(const at::Tensor& samples) const {
    const c10::InferenceMode guard;
    check_shape(samples, {kAnySize, parts_ * dims_.channels, kAnySize}, "codec samples");
    const at::Tensor on_device = samples.to(device_);
    std::vector<at::Tensor> books;
    for (std::int64_t part = 0; part < parts_; ++part) {
        const at::Tensor channel = on_device.narrow(1, part * dims_.channels, dims_.channels).contiguous();
        books.push_back(encoder_->encode(channel));
    }
    // [B, Kc, parts, T] -> codebooks of the channels interleaved
    return at::stack(books, 2).flatten(1, 2).to(at::kCPU);
}

}  // namespace musicsteer
