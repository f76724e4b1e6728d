#include "musicsteer/codec.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "musicsteer/shapes.hpp"
#include "script_call.hpp"

namespace musicsteer {
namespace {

/// The codebooks of one channel: every C-th, from `channel` on (left and right interleave).
at::Tensor codebooks_of(const at::Tensor& codes, std::int64_t channel, std::int64_t channels) {
    return codes.slice(1, channel, c10::nullopt, channels).contiguous();
}

}  // namespace

Codec::Codec(const Bundle& bundle)
    : dims_(bundle.manifest().codec),
      parts_(bundle.manifest().decoder.channels),
      num_codebooks_(bundle.manifest().decoder.num_codebooks),
      device_(bundle.device()),
      module_(bundle.load_module("codec.pt")) {}

c10::IValue Codec::call(const std::string& method, std::vector<c10::IValue> arguments) const {
    return call_script(module_.get_method(method), std::move(arguments), "codec");
}

at::Tensor Codec::decode_mono(const at::Tensor& codes) const {
    const c10::IValue state = call("initial_state", {codes.size(0)});
    const c10::IValue latent = call("decode_latent", {codes, state}).toTuple()->elements()[0];
    return call("decode_wave", {latent}).toTensor();
}

at::Tensor Codec::decode(const at::Tensor& codes) const {
    const c10::InferenceMode guard;
    check_shape(codes, {kAnySize, num_codebooks_, kAnySize}, "codec codes");
    const at::Tensor on_device = codes.to(device_);
    std::vector<at::Tensor> waves;
    for (std::int64_t part = 0; part < parts_; ++part) {
        waves.push_back(decode_mono(codebooks_of(on_device, part, parts_)));
    }
    const at::Tensor samples = at::cat(waves, 1).to(at::kCPU, at::kFloat);
    check_shape(samples, {codes.size(0), parts_ * dims_.channels, kAnySize}, "codec samples");
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
