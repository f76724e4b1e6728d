#include "model/decoder.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/shapes.hpp"
#include "kernels/step_attention.hpp"
#include "model/script_call.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

at::Tensor call(const torch::jit::Method& method, std::vector<c10::IValue> arguments) {
    return call_script(method, std::move(arguments), "decoder").toTensor();
}

torch::jit::Module part_of(const torch::jit::Module& module, const char* name) {
    return module.attr(name).toModule();
}

torch::jit::Method forward_of(const torch::jit::Module& module, const char* name) {
    return part_of(module, name).get_method("forward");
}

}  // namespace

Decoder::Layer::Layer(const torch::jit::Module& module)
    : self_norm(forward_of(module, "self_norm")),
      attend_self(module.get_method("attend_self")),
      mlp_norm(forward_of(module, "mlp_norm")),
      activation(forward_of(module, "mlp_activation")),
      self_qkv(part_of(module, "self_qkv")),
      self_project(part_of(module, "self_project")),
      mlp_in(part_of(module, "mlp_in")),
      mlp_out(part_of(module, "mlp_out")) {
    if (module.hasattr("cross_norm")) cross.emplace(module);
}

Decoder::Layer::CrossAttention::CrossAttention(const torch::jit::Module& module)
    : norm(forward_of(module, "cross_norm")),
      kv(module.get_method("cross_kv")),
      attend(module.get_method("attend_text")),
      query(part_of(module, "cross_query")),
      project(part_of(module, "cross_project")) {}

Decoder::Decoder(const Bundle& bundle)
    : dims_(bundle.manifest().decoder),
      text_width_(bundle.manifest().text.hidden_size),
      melody_(bundle.manifest().melody),
      device_(bundle.device()),
      cache_type_(bundle.manifest().cache_is_half() ? at::kHalf : at::kFloat),
      module_(bundle.load_module("decoder.pt")) {
    try {
        for (const torch::jit::Module& layer : module_.attr("layers").toModule().children())
            layers_.emplace_back(layer);
        for (const torch::jit::Module& head : module_.attr("heads").toModule().children())
            heads_.emplace_back(head);
        for (const char* name : {melody_ ? "embed_prefix" : "project_text", "embed", "final_norm"})
            (void)module_.get_method(name);
        for (const Layer& layer : layers_) TORCH_CHECK(layer.cross.has_value() != melody_.has_value());
    } catch (const c10::Error& error) {
        throw InputError(
            "decoder.pt is not a musicsteer decoder: a part is missing; export the bundle again");
    }
    if (static_cast<std::int64_t>(layers_.size()) != dims_.num_layers) {
        throw InputError("decoder.pt has " + std::to_string(layers_.size()) + " layers, manifest.json says " +
                         std::to_string(dims_.num_layers) + ": files of different bundles were mixed");
    }
}

KvCache Decoder::make_cache(std::int64_t rows, std::int64_t capacity) const {
    const c10::InferenceMode guard;
    const auto options = at::TensorOptions().dtype(cache_type_).device(device_);
    return with_our_errors("decoder", [&] {
        KvCache cache;
        for (std::int64_t i = 0; i < dims_.num_layers; ++i) {
            cache.keys.push_back(at::empty({rows, dims_.num_heads, capacity, dims_.head_size}, options));
            cache.values.push_back(at::empty({rows, dims_.num_heads, capacity, dims_.head_size}, options));
        }
        return cache;
    });
}

at::Tensor Decoder::embed(const at::Tensor& codes, std::int64_t position, const Prefix& prefix) const {
    const torch::jit::Method method = module_.get_method("embed");
    return prefix.slots == 0 ? call(method, {codes, position})
                             : call(method, {codes, prefix.length + position});
}

at::Tensor Decoder::self_attention(const Layer& layer, const at::Tensor& x, DecoderState& state,
                                   std::size_t index, const HookContext& context) const {
    at::Tensor& keys = state.cache.keys[index];
    at::Tensor& values = state.cache.values[index];
    const std::int64_t slot = state.prefix.slots + context.position;
    const std::int64_t seen = slot + context.columns;
    const at::Tensor bias = state.prefix.slots > 0 ? state.prefix.bias.narrow(3, 0, seen) : at::Tensor();
    const at::Tensor qkv = layer.self_qkv(call(layer.self_norm, {x}));
    if (context.columns != 1 || !device_.is_cpu()) {
        return bias.defined() ? call(layer.attend_self, {qkv, keys, values, slot, bias})
                              : call(layer.attend_self, {qkv, keys, values, slot});
    }
    const at::Tensor heads = qkv.view({x.size(0), 1, 3, dims_.num_heads, dims_.head_size});
    keys.select(2, slot).copy_(heads.select(2, 1).squeeze(1));
    values.select(2, slot).copy_(heads.select(2, 2).squeeze(1));
    return attend_step(heads.select(2, 0), keys.narrow(2, 0, seen), values.narrow(2, 0, seen), bias);
}

at::Tensor Decoder::cross_attention(const Layer& layer, const at::Tensor& x, const CrossAttentionCache& text,
                                    std::size_t index) const {
    if (!layer.cross) return at::zeros_like(x);  // its text is in the prefix
    const Layer::CrossAttention& cross = *layer.cross;
    const at::Tensor flat = cross.query(call(cross.norm, {x}));
    if (x.size(1) != 1 || !device_.is_cpu()) {
        const at::Tensor heads =
            call(cross.attend, {flat, text.keys[index], text.values[index], text.bias, text.rows});
        return cross.project(heads.flatten(2));
    }
    const at::Tensor query = flat.view({x.size(0), 1, dims_.num_heads, dims_.head_size});
    at::Tensor heads = at::zeros_like(query);
    if (text.rows.numel() > 0) {
        heads.index_copy_(
            0, text.rows,
            attend_step(query.index_select(0, text.rows), text.keys[index], text.values[index], text.bias));
    }
    return cross.project(heads.flatten(2));
}

at::Tensor Decoder::run_layers(at::Tensor x, HookContext context, DecoderState& state,
                               const HookRegistry& hooks) const {
    const auto at_layer = [&](std::int64_t i, Site site, at::Tensor activation) {
        context.point = HookPoint::at(i, site);
        return hooks.fire(std::move(activation), context);
    };
    for (std::int64_t i = 0; i < dims_.num_layers; ++i) {
        const auto index = static_cast<std::size_t>(i);
        const Layer& layer = layers_[index];
        x = at_layer(i, Site::kResidPre, std::move(x));

        at::Tensor heads = self_attention(layer, x, state, index, context);
        heads = at_layer(i, Site::kSelfAttnHeads, std::move(heads));
        x = x + at_layer(i, Site::kSelfAttnOut, layer.self_project(heads.flatten(2)));
        x = at_layer(i, Site::kResidPostSelf, std::move(x));

        x = x + at_layer(i, Site::kCrossAttnOut, cross_attention(layer, x, state.text, index));
        x = at_layer(i, Site::kResidPostCross, std::move(x));

        const at::Tensor inner = call(layer.activation, {layer.mlp_in(call(layer.mlp_norm, {x}))});
        x = x + at_layer(i, Site::kMlpOut, layer.mlp_out(inner));
        x = at_layer(i, Site::kResidPost, std::move(x));
    }
    return x;
}

at::Tensor Decoder::forward(const DecoderInput& input, DecoderState& state, const HookRegistry& hooks) const {
    const c10::InferenceMode guard;
    HookContext context = input.context;
    const std::int64_t batch = input.codes.size(0);
    check_shape(input.codes, {batch, dims_.num_codebooks, context.columns}, "decoder codes");
    ++forward_calls_;
    try {
        context.point = HookPoint::embed();
        at::Tensor x = hooks.fire(embed(input.codes, context.position, state.prefix), context);
        x = run_layers(std::move(x), context, state, hooks);
        context.point = HookPoint::final_norm();
        x = hooks.fire(call(module_.get_method("final_norm"), {x}), context);
        std::vector<at::Tensor> scores;
        for (const StepLinear& head : heads_) scores.push_back(head(x));
        const at::Tensor logits = at::stack(scores, 1);
        check_shape(logits, {batch, dims_.num_codebooks, context.columns, dims_.codebook_size},
                    "decoder logits");
        return logits;
    } catch (...) {
        rethrow_as_ours("decoder");
    }
}

}  // namespace musicsteer
