#include "kernels/elu.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <cstring>
#include <memory>

#include "kernels/float_vectors.hpp"
#include "kernels/processor.hpp"

namespace musicsteer {
namespace {

template <class V>
MUSICSTEER_INLINE typename V::Floats load_numbers(const float* from) {
    return V::load(from);
}

template <class V>
MUSICSTEER_INLINE void store_numbers(float* to, const typename V::Floats& values) {
    V::store(to, values);
}

/// A bfloat16 is the upper half of a float.
template <class V>
MUSICSTEER_INLINE typename V::Floats load_numbers(const at::BFloat16* from) {
    typename V::Bits16 halves;
    std::memcpy(&halves, from, sizeof(halves));
    const auto bits = __builtin_convertvector(halves, typename V::Bits) << 16;
    typename V::Floats values;
    std::memcpy(&values, &bits, sizeof(values));
    return values;
}

/// Rounds to the nearest, ties to even.
template <class V>
MUSICSTEER_INLINE void store_numbers(at::BFloat16* to, const typename V::Floats& values) {
    typename V::Bits bits;
    std::memcpy(&bits, &values, sizeof(bits));
    const typename V::Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const auto halves = __builtin_convertvector(rounded, typename V::Bits16);
    std::memcpy(static_cast<void*>(to), &halves, sizeof(halves));
}

template <class V, typename Number>
MUSICSTEER_INLINE void elu_vector(const Number* from, Number* to) {
    const typename V::Floats x = load_numbers<V>(from);
    store_numbers<V>(to, x > 0.0F ? x : V::exponential_minus_one(x));
}

template <class V, typename Number>
MUSICSTEER_INLINE void elu_numbers(const Number* from, Number* to, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + V::kLanes <= count; i += V::kLanes) elu_vector<V>(from + i, to + i);
    if (i == count) return;
    Number last[V::kLanes] = {};
    std::copy(from + i, from + count, last);
    elu_vector<V>(last, last);
    std::copy(last, last + (count - i), to + i);
}

#if defined(__x86_64__)
template <typename Number>
__attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma"))) void elu_avx512(const Number* from, Number* to,
                                                                              std::int64_t count) {
    elu_numbers<FloatVector<16>>(from, to, count);
}

template <typename Number>
__attribute__((target("avx2,fma"))) void elu_avx2(const Number* from, Number* to, std::int64_t count) {
    elu_numbers<FloatVector<8>>(from, to, count);
}
#endif

template <typename Number>
void elu_range(const Number* from, Number* to, std::int64_t count) {
#if defined(__x86_64__)
    if (has_avx512()) return elu_avx512(from, to, count);
    if (has_avx2()) return elu_avx2(from, to, count);
#endif
    elu_numbers<FloatVector<4>>(from, to, count);
}

template <typename Number>
void elu_all(const at::Tensor& from, at::Tensor& to) {
    const Number* read = from.const_data_ptr<Number>();
    Number* written = to.data_ptr<Number>();
    constexpr std::int64_t kWorthAThread = 32768;
    at::parallel_for(0, from.numel(), kWorthAThread, [&](std::int64_t first, std::int64_t last) {
        elu_range(read + first, written + first, last - first);
    });
}

/// @param to  as `from` in shape and strides, without gaps
void elu_into(const at::Tensor& from, at::Tensor& to) {
    from.scalar_type() == at::kBFloat16 ? elu_all<at::BFloat16>(from, to) : elu_all<float>(from, to);
}

bool has_kernel(const at::Tensor& x) {
    return x.is_non_overlapping_and_dense() &&
           (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

/// The operators that stand in a method for LibTorch's.
void register_operators() {
    using torch::jit::Operator;
    using torch::jit::Stack;
    static const torch::jit::RegisterOperators operators(
        {Operator(
             "musicsteer::elu(Tensor x) -> Tensor",
             [](Stack& stack) { stack.back() = fast_elu(stack.back().toTensor()); },
             c10::AliasAnalysisKind::FROM_SCHEMA),
         Operator(
             "musicsteer::elu_(Tensor(a!) x) -> Tensor(a!)",
             [](Stack& stack) {
                 at::Tensor x = stack.back().toTensor();
                 fast_elu_in_place(x);
             },
             c10::AliasAnalysisKind::FROM_SCHEMA)});
}

/// Whether alpha and both scales of an `aten::elu` are 1.
bool is_plain(const torch::jit::Node& node) {
    for (std::size_t i = 1; i < node.inputs().size(); ++i) {
        const std::optional<c10::IValue> value = torch::jit::toIValue(node.input(i));
        if (!value || value->toScalar().toDouble() != 1.0) return false;
    }
    return true;
}

int replace_calls(torch::jit::Block& block) {
    int count = 0;
    for (auto node = block.nodes().begin(); node != block.nodes().end(); ++node) {
        for (torch::jit::Block* inner : node->blocks()) count += replace_calls(*inner);
        const bool in_place = node->kind() == c10::Symbol::fromQualString("aten::elu_");
        if (!in_place && node->kind() != c10::Symbol::fromQualString("aten::elu")) continue;
        if (!is_plain(**node)) continue;
        torch::jit::Graph& graph = *node->owningGraph();
        torch::jit::Node* fast = graph.create(
            c10::Symbol::fromQualString(in_place ? "musicsteer::elu_" : "musicsteer::elu"), {node->input(0)});
        fast->insertBefore(*node);
        fast->output()->setType(node->output()->type());
        node->output()->replaceAllUsesWith(fast->output());
        node.destroyCurrent();
        ++count;
    }
    return count;
}

}  // namespace

at::Tensor fast_elu(const at::Tensor& x) {
    if (!has_kernel(x)) return at::elu(x);
    at::Tensor y = at::empty_like(x);
    elu_into(x, y);
    return y;
}

void fast_elu_in_place(at::Tensor& x) {
    if (!has_kernel(x)) {
        at::elu_(x);
    } else {
        elu_into(x, x);
    }
}

int use_fast_elu(const torch::jit::Method& method) {
    register_operators();
    torch::jit::GraphFunction& function = torch::jit::toGraphFunction(method.function());
    function.ensure_defined();  // methods of a loaded module are compiled on demand
    const std::shared_ptr<torch::jit::Graph> graph = function.graph();
    // Without it, only one level of calls is inlined
    const torch::jit::GraphOptimizerEnabledGuard optimizer(true);
    torch::jit::Inline(*graph);
    return replace_calls(*graph->block());
}

}  // namespace musicsteer
