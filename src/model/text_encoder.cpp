#include "model/text_encoder.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/errors.hpp"
#include "base/shapes.hpp"
#include "model/script_call.hpp"

namespace musicsteer {

TextEncoder::TextEncoder(const Bundle& bundle)
    : dims_(bundle.manifest().text),
      device_(bundle.device()),
      module_(bundle.load_module("text_encoder.pt")) {}

at::Tensor TextEncoder::encode(std::span<const std::int64_t> ids) const {
    const c10::InferenceMode guard;
    for (const std::int64_t id : ids) {
        if (id < 0 || id >= dims_.vocab_size) {
            throw InputError("token id " + std::to_string(id) +
                             " is outside the text encoder's vocabulary of " +
                             std::to_string(dims_.vocab_size) + ": tokenizer.json is of another model");
        }
    }
    const auto length = static_cast<std::int64_t>(ids.size());
    const at::Tensor tokens = at::tensor(at::ArrayRef<std::int64_t>(ids.data(), ids.size()), at::kLong)
                                  .view({1, length})
                                  .to(device_);
    const at::Tensor states =
        call_script(module_.get_method("forward"), {tokens, at::ones_like(tokens)}, "text encoder")
            .toTensor();
    check_shape(states, {1, length, dims_.hidden_size}, "text_encoder");
    return states[0];
}

}  // namespace musicsteer
