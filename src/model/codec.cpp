#include "model/codec.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <optional>

#include "base/shapes.hpp"
#include "kernels/elu.hpp"
#include "model/codec_pipeline.hpp"
#include "model/script_call.hpp"

namespace musicsteer {
namespace {

/// The codebooks of one channel: every C-th, from `channel` on (left and right interleave).
at::Tensor codebooks_of(const at::Tensor& codes, std::int64_t channel, std::int64_t channels) {
    return codes.slice(1, channel, c10::nullopt, channels).contiguous();
}

/// The layers of an LSTM module, packed for the CPU.
std::vector<LstmLayer> lstm_layers(const torch::jit::Module& lstm) {
    std::vector<LstmLayer> layers;
    for (const torch::jit::Module& layer : lstm.attr("layers").toModule().children()) {
        layers.emplace_back(layer.attr("weight_ih").toTensor(), layer.attr("weight_hh").toTensor(),
                            layer.attr("bias_ih").toTensor(), layer.attr("bias_hh").toTensor());
    }
    return layers;
}

std::optional<CodecReach> reach_of(const std::vector<std::int64_t>& sides, std::size_t first) {
    if (sides.at(first) < 0) return std::nullopt;
    return CodecReach{sides.at(first), sides.at(first + 1)};
}

}  // namespace

Codec::Codec(const Bundle& bundle)
    : dims_(bundle.manifest().codec),
      parts_(bundle.manifest().decoder.channels),
      num_codebooks_(bundle.manifest().decoder.num_codebooks),
      device_(bundle.device()),
      module_(bundle.load_module("codec.pt")) {
    if (!device_.is_cpu()) return;
    const c10::InferenceMode guard;
    stages_ = std::make_shared<CodecStages>();
    use_fast_elu(module_.get_method("decode_wave"));
    stages_->channels = dims_.channels;
    stages_->hop_length = dims_.hop_length;
    stages_->lstm_input = [module = module_](const at::Tensor& codes) {
        return call_script(module.get_method("lstm_input"), {codes}, "codec").toTensor();
    };
    stages_->decode_wave = [module = module_](const at::Tensor& latent) {
        return call_script(module.get_method("decode_wave"), {latent}, "codec").toTensor();
    };
    stages_->lstm = lstm_layers(module_.attr("decoder_lstm").toModule());
    const std::vector<std::int64_t> reach = call("reach", {}).toIntVector();
    stages_->input_reach = reach_of(reach, 0);
    stages_->wave_reach = reach_of(reach, 2);
}

c10::IValue Codec::call(const std::string& method, std::vector<c10::IValue> arguments) const {
    return call_script(module_.get_method(method), std::move(arguments), "codec");
}

/// [R, Kc, T] -> [R, C, hop T] on the CPU
at::Tensor Codec::decode_tracks(const at::Tensor& codes) const {
    if (stages_) return CodecPipeline(*stages_, codes).run();
    const at::Tensor on_device = codes.to(device_);
    const c10::IValue state = call("initial_state", {codes.size(0)});
    const at::Tensor x = call("lstm_input", {on_device}).toTensor();
    const c10::IValue latent = call("run_lstm", {x, state}).toTuple()->elements()[0];
    return call("decode_wave", {latent}).toTensor().to(at::kCPU);
}

at::Tensor Codec::decode(const at::Tensor& codes) const {
    const c10::InferenceMode guard;
    check_shape(codes, {kAnySize, num_codebooks_, kAnySize}, "codec codes");
    std::vector<at::Tensor> parts;
    for (std::int64_t part = 0; part < parts_; ++part) parts.push_back(codebooks_of(codes, part, parts_));
    const std::vector<at::Tensor> waves = decode_tracks(at::cat(parts)).chunk(parts_);
    const at::Tensor samples = at::cat(waves, 1);
    check_shape(samples, {codes.size(0), parts_ * dims_.channels, codes.size(2) * dims_.hop_length},
                "codec samples");
    return samples;
}

at::Tensor Codec::encode(const at::Tensor& samples) const {
    const c10::InferenceMode guard;
    check_shape(samples, {kAnySize, parts_ * dims_.channels, kAnySize}, "codec samples");
    const at::Tensor on_device = samples.to(device_);
    std::vector<at::Tensor> books;
    for (std::int64_t part = 0; part < parts_; ++part) {
        const at::Tensor channel = on_device.narrow(1, part * dims_.channels, dims_.channels).contiguous();
        books.push_back(call("encode", {channel}).toTensor());
    }
    // [B, Kc, parts, T] -> codebooks of the channels interleaved
    return at::stack(books, 2).flatten(1, 2).to(at::kCPU);
}

}  // namespace musicsteer
