#include "model/conditioning.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <limits>

#include "base/shapes.hpp"
#include "model/decoder.hpp"
#include "model/script_call.hpp"
#include "musicsteer/errors.hpp"

// How the decoder gets text and melody: the part of class Decoder that runs once for each batch.
namespace musicsteer {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// [P, ...] by text -> [C, ...] by row; without copies if all rows share a text.
at::Tensor of_rows(const at::Tensor& by_text, const at::Tensor& texts) {
    if (texts.numel() > 0 && texts.eq(texts[0]).all().item<bool>()) {
        std::vector<std::int64_t> sizes = by_text.sizes().vec();
        sizes[0] = texts.size(0);
        return by_text.index_select(0, texts.narrow(0, 0, 1)).expand(sizes);
    }
    return by_text.index_select(0, texts);
}

/// Transformers' stand-in for a melody, [1, 12]: the first class in every frame.
at::Tensor no_melody(std::int64_t num_chroma) {
    at::Tensor chroma = at::zeros({1, num_chroma});
    chroma[0][0].fill_(1);
    return chroma;
}

}  // namespace

void Decoder::tell(DecoderState& state, std::span<const RowCondition> conditions,
                   std::span<const std::int64_t> condition_of_row, std::int64_t text_length,
                   std::int64_t positions, const std::stop_token& stop) const {
    const c10::InferenceMode guard;
    with_our_errors("decoder", [&] {
        if (melody_) {
            state = read_prefixes(conditions, condition_of_row, text_length, positions, stop);
            return;
        }
        state.text = remember(conditions, condition_of_row, text_length);
        if (state.cache.keys.empty()) state.cache = make_cache(std::ssize(condition_of_row), positions);
    });
}

CrossAttentionCache Decoder::remember(std::span<const RowCondition> conditions,
                                      std::span<const std::int64_t> condition_of_row,
                                      std::int64_t text_length) const {
    const auto on_device = at::TensorOptions().device(device_);
    std::vector<std::vector<at::Tensor>> keys(layers_.size());
    std::vector<std::vector<at::Tensor>> values(layers_.size());
    std::vector<at::Tensor> masks;                                       // of the texts: [S]
    std::vector<std::int64_t> text_of_condition(conditions.size(), -1);  // -1: none
    for (std::size_t c = 0; c < conditions.size(); ++c) {
        const at::Tensor& states = conditions[c].states;
        if (!states.defined()) continue;
        check_shape(states, {kAnySize, text_width_}, "decoder text states");
        const at::Tensor padded = at::zeros({1, text_length, text_width_}, on_device.dtype(at::kFloat));
        const at::Tensor mask = at::zeros({1, text_length}, on_device.dtype(at::kBool));
        padded[0].narrow(0, 0, states.size(0)).copy_(states);
        mask[0].narrow(0, 0, states.size(0)).fill_(true);
        // One text at a time: linears may give other last bits for other numbers of rows, and a clip must not
        // depend on how many texts the others have.
        const at::Tensor text =
            call_script(module_.get_method("project_text"), {padded, mask}, "decoder").toTensor();
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            const auto pair = call_script(layers_[i].cross->kv, {text}, "decoder").toTuple();
            keys[i].push_back(pair->elements()[0].toTensor());
            values[i].push_back(pair->elements()[1].toTensor());
        }
        text_of_condition[c] = std::ssize(masks);
        masks.push_back(mask[0]);
    }
    std::vector<std::int64_t> rows, texts;  // rows that have a text, and their texts
    for (std::size_t row = 0; row < condition_of_row.size(); ++row) {
        const std::int64_t text = text_of_condition[static_cast<std::size_t>(condition_of_row[row])];
        if (text < 0) continue;
        rows.push_back(static_cast<std::int64_t>(row));
        texts.push_back(text);
    }
    CrossAttentionCache memory;
    memory.rows = at::tensor(rows, at::kLong).to(device_);
    if (masks.empty()) {
        const at::Tensor none = at::zeros({0, dims_.num_heads, text_length, dims_.head_size}, on_device);
        memory.keys.resize(layers_.size(), none);
        memory.values = memory.keys;
        memory.bias = at::zeros({0, 1, 1, text_length}, on_device);
        return memory;
    }
    const at::Tensor text_of_row = at::tensor(texts, at::kLong).to(device_);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        memory.keys.push_back(of_rows(at::cat(keys[i]), text_of_row));
        memory.values.push_back(of_rows(at::cat(values[i]), text_of_row));
    }
    const at::Tensor seen = at::stack(masks).index_select(0, text_of_row).unsqueeze(1).unsqueeze(1);
    memory.bias =
        at::zeros(seen.sizes(), on_device.dtype(at::kFloat)).masked_fill(seen.logical_not(), -kInfinity);
    return memory;
}

at::Tensor Decoder::embed_prefix(const RowCondition& condition) const {
    const bool has_text = condition.states.defined();
    const auto on_device = at::TensorOptions().device(device_);
    const at::Tensor states =
        has_text ? condition.states.unsqueeze(0) : at::zeros({1, condition.columns, text_width_}, on_device);
    check_shape(states, {1, condition.columns, text_width_}, "decoder text states");
    const at::Tensor mask = at::full({1, condition.columns}, has_text, on_device.dtype(at::kBool));
    const at::Tensor melody = condition.melody.defined() ? condition.melody : no_melody(melody_->num_chroma);
    return call_script(module_.get_method("embed_prefix"), {melody.unsqueeze(0).to(device_), states, mask},
                       "decoder")
        .toTensor();
}

DecoderState Decoder::read_prefixes(std::span<const RowCondition> conditions,
                                    std::span<const std::int64_t> condition_of_row, std::int64_t text_length,
                                    std::int64_t positions, const std::stop_token& stop) const {
    const std::int64_t rows = std::ssize(condition_of_row);
    const std::int64_t slots = melody_->chroma_length + text_length;
    const std::int64_t table = module_.attr("positions").toTensor().size(0);
    if (slots + positions > table) {
        throw UsageError("melody, text and clip take " + std::to_string(slots + positions) +
                         " positions, and the model has " + std::to_string(table) +
                         ": use a shorter prompt or --duration");
    }
    DecoderState state;
    state.cache = make_cache(rows, slots + positions);
    state.prefix.slots = slots;
    state.prefix.length = at::zeros({rows}, at::TensorOptions().dtype(at::kLong).device(device_));
    state.prefix.bias = at::zeros({rows, 1, 1, slots + positions}, at::TensorOptions().device(device_));
    const HookRegistry no_hooks(dims_.num_layers);
    for (std::size_t c = 0; c < conditions.size(); ++c) {
        if (stop.stop_requested()) throw Interrupted("interrupted");
        at::Tensor x = embed_prefix(conditions[c]);
        HookContext context;
        context.columns = x.size(1);
        DecoderState own;
        own.cache = make_cache(1, context.columns);
        (void)run_layers(std::move(x), context, own, no_hooks);
        const std::int64_t free = slots - context.columns;
        for (std::int64_t row = 0; row < rows; ++row) {
            if (condition_of_row[static_cast<std::size_t>(row)] != static_cast<std::int64_t>(c)) continue;
            state.prefix.length[row].fill_(context.columns);
            state.prefix.bias[row].narrow(2, 0, free).fill_(-kInfinity);
            for (std::size_t i = 0; i < layers_.size(); ++i) {
                for (const auto& [whole, part] :
                     {std::pair(state.cache.keys[i][row], own.cache.keys[i][0]),
                      std::pair(state.cache.values[i][row], own.cache.values[i][0])}) {
                    whole.narrow(1, 0, free).zero_();  // zero times uninitialised memory may be NaN
                    whole.narrow(1, free, context.columns).copy_(part);
                }
            }
        }
    }
    return state;
}

}  // namespace musicsteer
