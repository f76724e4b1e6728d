#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

// The names that the code of our modules has: what module_code.cpp allows.

namespace musicsteer {

/// Every operator of our modules (src/python/musicsteer/torchscript), in all precisions and with every
/// activation.
inline constexpr auto kOperators = std::to_array<std::string_view>({
    "RaiseException",
    "__derive_index",
    "__isnot__",
    "__range_length",
    "_linear_pointwise",
    "abs",
    "add",
    "add_",
    "amax",
    "append",
    "arange",
    "bitwise_not",
    "cat",
    "ceil",
    "chunk",
    "clamp",
    "clamp_min",
    "contiguous",
    "conv2d",
    "convolution",
    "copy_",
    "device",
    "dim",
    "div",
    "dtype",
    "elu",
    "elu_",
    "embedding",
    "eq",
    "flatten",
    "floordiv",
    "format",
    "ge",
    "gelu",
    "group_norm",
    "gt",
    "hardswish",
    "hardswish_",
    "hardtanh",
    "hardtanh_",
    "index_copy_",
    "index_select",
    "is_cuda",
    "item",
    "layer_norm",
    "le",
    "leaky_relu",
    "leaky_relu_",
    "len",
    "linear",
    "list",
    "log",
    "lstm",
    "lt",
    "masked_fill",
    "matmul",
    "max",
    "mean",
    "min",
    "mish",
    "mish_",
    "mul",
    "narrow",
    "neg",
    "norm",
    "pad",
    "permute",
    "pow",
    "reciprocal",
    "relu",
    "relu_",
    "reshape",
    "round",
    "rsqrt",
    "scaled_dot_product_attention",
    "select",
    "sigmoid",
    "silu",
    "silu_",
    "size",
    "slice",
    "softmax",
    "split",
    "square",
    "squeeze",
    "stack",
    "stride",
    "sub",
    "sum",
    "t",
    "tanh",
    "tensor",
    "tile",
    "to",
    "transpose",
    "unbind",
    "unsqueeze",
    "view",
    "where",
    "zeros",
    "zeros_like",
});

/// Functions that are called without a dot, apart from getattr.
inline constexpr auto kFunctions = std::to_array<std::string_view>(
    {"annotate", "bool", "float", "int", "range", "unchecked_cast", "uninitialized"});

/// Those whose first argument is a type.
inline constexpr auto kFunctionsOfTypes =
    std::to_array<std::string_view>({"annotate", "unchecked_cast", "uninitialized"});

inline constexpr auto kTypes = std::to_array<std::string_view>(
    {"Device", "NoneType", "Tensor", "bool", "float", "int", "number", "str"});
inline constexpr auto kGenericTypes = std::to_array<std::string_view>({"Final", "List", "Optional", "Tuple"});

/// What a class says about itself.
inline constexpr auto kClassLists =
    std::to_array<std::string_view>({"__annotations__", "__buffers__", "__parameters__"});

template <std::size_t N>
constexpr bool holds(const std::array<std::string_view, N>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace musicsteer
