#include "model/text_encoder.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cmath>

#include "base/shapes.hpp"
#include "model/memory.hpp"
#include "model/script_call.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

at::Tensor call(const torch::jit::Module& module, std::vector<c10::IValue> arguments) {
    return call_script(module.get_method("forward"), std::move(arguments), "text encoder").toTensor();
}

}  // namespace

TextEncoder::TextEncoder(const Bundle& bundle)
    : dims_(bundle.manifest().text),
      device_(bundle.device()),
      module_(bundle.load_module("text_encoder.pt")) {
    for (const torch::jit::Module& block : module_.attr("blocks").toModule().children())
        blocks_.push_back(block);
    num_heads_ = module_.attr("distance_bias").toModule().attr("weight").toTensor().size(1);
}

std::uint64_t TextEncoder::memory_of(std::int64_t tokens) const {
    constexpr double kFloatBytes = 4, kInt64Bytes = 8;
    const double pairs = static_cast<double>(tokens) * static_cast<double>(tokens);
    // For each head: bias, scores, their sum and its softmax; plus the input of the buckets.
    return static_cast<std::uint64_t>(pairs *
                                      (4 * kFloatBytes * static_cast<double>(num_heads_) + 4 * kInt64Bytes));
}

/// The addend of the scores, [1, H, S, S]: distance_buckets in
/// src/python/musicsteer/torchscript/text_encoder.py.
at::Tensor TextEncoder::distance_bias(std::int64_t length) const {
    const std::int64_t half = module_.attr("num_buckets").toInt() / 2;
    const std::int64_t exact = half / 2;
    const double widening =
        std::log(static_cast<double>(module_.attr("max_distance").toInt()) / static_cast<double>(exact));
    const at::Tensor place = at::arange(length, at::TensorOptions().dtype(at::kLong).device(device_));
    const at::Tensor offset = place.unsqueeze(0) - place.unsqueeze(1);
    const at::Tensor distance = offset.abs();
    const at::Tensor ratio = at::log(distance.clamp_min(1).to(at::kFloat) / exact) / widening;
    const at::Tensor shared = (exact + (ratio * (half - exact)).to(at::kLong)).clamp_max(half - 1);
    const at::Tensor buckets =
        at::where(distance < exact, distance, shared) + (offset > 0).to(at::kLong) * half;
    return call(module_.attr("distance_bias").toModule(), {buckets}).permute({2, 0, 1}).unsqueeze(0);
}

at::Tensor TextEncoder::encode(std::span<const std::int64_t> ids, const std::stop_token& stop) const {
    const c10::InferenceMode guard;
    for (const std::int64_t id : ids) {
        if (id < 0 || id >= dims_.vocab_size) {
            throw InputError("token id " + std::to_string(id) +
                             " is outside the text encoder's vocabulary of " +
                             std::to_string(dims_.vocab_size) + ": tokenizer.json is of another model");
        }
    }
    const auto length = static_cast<std::int64_t>(ids.size());
    require_text_memory(length);
    return with_our_errors("text encoder", [&] {
        const at::Tensor tokens = at::tensor(at::ArrayRef<std::int64_t>(ids.data(), ids.size()), at::kLong)
                                      .view({1, length})
                                      .to(device_);
        at::Tensor x = call(module_.attr("tokens").toModule(), {tokens});
        const at::Tensor bias = distance_bias(length);
        for (const torch::jit::Module& block :
             blocks_) {  // one by one, to be interruptible: a long text takes minutes
            if (stop.stop_requested()) throw Interrupted("interrupted");
            x = call(block, {x, bias});
        }
        x = call(module_.attr("norm").toModule(), {x});
        check_shape(x, {1, length, dims_.hidden_size}, "text_encoder");
        return x[0];
    });
}

void TextEncoder::require_text_memory(std::int64_t tokens) const {
    const std::uint64_t needed = memory_of(tokens), available = available_memory(device_);
    if (needed <= available) return;
    throw ResourceError("a text of " + std::to_string(tokens) + " tokens needs about " +
                        format_bytes(needed) + " of memory to be encoded, " + format_bytes(available) +
                        " are free: use a shorter prompt (T5 was trained on " +
                        std::to_string(kTrainedTextTokens) + " tokens at most)");
}

}  // namespace musicsteer
