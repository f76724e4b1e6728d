#include "model/decoder.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <limits>

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

/// [P, ...] by text -> [C, ...] by row; where all rows share a text, without copies.
at::Tensor of_rows(const at::Tensor& by_text, const at::Tensor& texts) {
    if (texts.numel() > 0 && texts.eq(texts[0]).all().item<bool>()) {
        std::vector<std::int64_t> sizes = by_text.sizes().vec();
        sizes[0] = texts.size(0);
        return by_text.index_select(0, texts.narrow(0, 0, 1)).expand(sizes);
    }
    return by_text.index_select(0, texts);
}

}  // namespace

Decoder::Layer::Layer(const torch::jit::Module& module)
    : self_norm(forward_of(module, "self_norm")),
      attend_self(module.get_method("attend_self")),
      cross_norm(forward_of(module, "cross_norm")),
      cross_kv(module.get_method("cross_kv")),
      attend_text(module.get_method("attend_text")),
      mlp_norm(forward_of(module, "mlp_norm")),
      activation(forward_of(module, "mlp_activation")),
      self_qkv(part_of(module, "self_qkv")),
      self_project(part_of(module, "self_project")),
      cross_query(part_of(module, "cross_query")),
      cross_project(part_of(module, "cross_project")),
      mlp_in(part_of(module, "mlp_in")),
      mlp_out(part_of(module, "mlp_out")) {}

Decoder::Decoder(const Bundle& bundle)
    : dims_(bundle.manifest().decoder),
      text_width_(bundle.manifest().text.hidden_size),
      device_(bundle.device()),
      cache_type_(bundle.manifest().cache_is_half() ? at::kHalf : at::kFloat),
      module_(bundle.load_module("decoder.pt")) {
    try {
        for (const torch::jit::Module& layer : module_.attr("layers").toModule().children())
            layers_.emplace_back(layer);
        for (const torch::jit::Module& head : module_.attr("heads").toModule().children())
            heads_.emplace_back(head);
        for (const char* name : {"project_text", "embed", "final_norm"}) (void)module_.get_method(name);
    } catch (const c10::Error& error) {
        throw InputError("decoder.pt is no musicsteer decoder: a part is missing; export the bundle again");
    }
    if (static_cast<std::int64_t>(layers_.size()) != dims_.num_layers) {
        throw InputError("decoder.pt has " + std::to_string(layers_.size()) + " layers, manifest.json says " +
                         std::to_string(dims_.num_layers) + ": files of different bundles were mixed");
    }
}

CrossAttentionCache Decoder::remember(const at::Tensor& states, const at::Tensor& mask,
                                      const at::Tensor& text_of_row) const {
    const c10::InferenceMode guard;
    check_shape(states, {kAnySize, kAnySize, text_width_}, "decoder text states");
    check_shape(mask, {states.size(0), states.size(1)}, "decoder text mask");
    try {
        // Text by text: linears may give other last bits for other numbers of rows, and a clip must not
        // depend on how many texts its companions have.
        std::vector<std::vector<at::Tensor>> keys(layers_.size());
        std::vector<std::vector<at::Tensor>> values(layers_.size());
        for (std::int64_t p = 0; p < states.size(0); ++p) {
            const at::Tensor text =
                call(module_.get_method("project_text"), {states.narrow(0, p, 1), mask.narrow(0, p, 1)});
            for (std::size_t i = 0; i < layers_.size(); ++i) {
                const auto pair = call_script(layers_[i].cross_kv, {text}, "decoder").toTuple();
                keys[i].push_back(pair->elements()[0].toTensor());
                values[i].push_back(pair->elements()[1].toTensor());
            }
        }
        CrossAttentionCache memory;
        memory.rows = mask.any(1).index_select(0, text_of_row).nonzero().flatten();
        const at::Tensor texts = text_of_row.index_select(0, memory.rows);
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            memory.keys.push_back(of_rows(at::cat(keys[i]), texts));
            memory.values.push_back(of_rows(at::cat(values[i]), texts));
        }
        const at::Tensor seen = mask.index_select(0, texts).unsqueeze(1).unsqueeze(1);
        memory.bias = at::zeros(seen.sizes(), states.options())
                          .masked_fill(seen.logical_not(), -std::numeric_limits<double>::infinity());
        return memory;
    } catch (...) {
        rethrow_as_ours("decoder");
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

at::Tensor Decoder::self_attention(const Layer& layer, const at::Tensor& x, at::Tensor& keys,
                                   at::Tensor& values, const HookContext& context) const {
    const at::Tensor qkv = layer.self_qkv(call(layer.self_norm, {x}));
    if (context.columns != 1 || !device_.is_cpu())
        return call(layer.attend_self, {qkv, keys, values, context.position});
    const at::Tensor heads = qkv.view({x.size(0), 1, 3, dims_.num_heads, dims_.head_size});
    keys.select(2, context.position).copy_(heads.select(2, 1).squeeze(1));
    values.select(2, context.position).copy_(heads.select(2, 2).squeeze(1));
    const std::int64_t seen = context.position + 1;
    return attend_step(heads.select(2, 0), keys.narrow(2, 0, seen), values.narrow(2, 0, seen), {});
}

at::Tensor Decoder::cross_attention(const Layer& layer, const at::Tensor& x, const CrossAttentionCache& text,
                                    std::size_t index) const {
    const at::Tensor flat = layer.cross_query(call(layer.cross_norm, {x}));
    if (x.size(1) != 1 || !device_.is_cpu())
        return call(layer.attend_text, {flat, text.keys[index], text.values[index], text.bias, text.rows});
    const at::Tensor query = flat.view({x.size(0), 1, dims_.num_heads, dims_.head_size});
    at::Tensor heads = at::zeros_like(query);
    if (text.rows.numel() > 0) {
        heads.index_copy_(
            0, text.rows,
            attend_step(query.index_select(0, text.rows), text.keys[index], text.values[index], text.bias));
    }
    return heads;
}

at::Tensor Decoder::forward(const DecoderInput& input, const CrossAttentionCache& text, KvCache& cache,
                            const HookRegistry& hooks) const {
    const c10::InferenceMode guard;
    HookContext context = input.context;
    const std::int64_t position = context.position;
    const std::int64_t batch = input.codes.size(0);
    const std::int64_t columns = context.columns;
    check_shape(input.codes, {batch, dims_.num_codebooks, columns}, "decoder codes");
    ++forward_calls_;

    const auto at_layer = [&](std::int64_t i, Site site, at::Tensor activation) {
        context.point = HookPoint::at(i, site);
        return hooks.fire(std::move(activation), context);
    };
    try {
        context.point = HookPoint::embed();
        at::Tensor x = hooks.fire(call(module_.get_method("embed"), {input.codes, position}), context);
        for (std::int64_t i = 0; i < dims_.num_layers; ++i) {
            const auto index = static_cast<std::size_t>(i);
            const Layer& layer = layers_[index];
            x = at_layer(i, Site::kResidPre, std::move(x));

            at::Tensor heads = self_attention(layer, x, cache.keys[index], cache.values[index], context);
            heads = at_layer(i, Site::kSelfAttnHeads, std::move(heads));
            x = x + at_layer(i, Site::kSelfAttnOut, layer.self_project(heads.flatten(2)));
            x = at_layer(i, Site::kResidPostSelf, std::move(x));

            heads = cross_attention(layer, x, text, index);
            x = x + at_layer(i, Site::kCrossAttnOut, layer.cross_project(heads.flatten(2)));
            x = at_layer(i, Site::kResidPostCross, std::move(x));

            const at::Tensor inner = call(layer.activation, {layer.mlp_in(call(layer.mlp_norm, {x}))});
            x = x + at_layer(i, Site::kMlpOut, layer.mlp_out(inner));
            x = at_layer(i, Site::kResidPost, std::move(x));
        }
        context.point = HookPoint::final_norm();
        x = hooks.fire(call(module_.get_method("final_norm"), {x}), context);
        std::vector<at::Tensor> scores;
        for (const StepLinear& head : heads_) scores.push_back(head(x));
        const at::Tensor logits = at::stack(scores, 1);
        check_shape(logits, {batch, dims_.num_codebooks, columns, dims_.codebook_size}, "decoder logits");
        return logits;
    } catch (...) {
        rethrow_as_ours("decoder");
    }
}

}  // namespace musicsteer
