#include "model/module_code.hpp"

#include <torch/csrc/jit/frontend/lexer.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using torch::jit::Token;

/// Every operator of our modules (src/python/musicsteer/torchscript), in all precisions and with every
/// activation.
constexpr auto kOperators = std::to_array<std::string_view>({
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

/// Functions that are called without a dot. getattr only with a number in quotes: the name of a list's item.
constexpr auto kFunctions = std::to_array<std::string_view>(
    {"annotate", "float", "int", "bool", "len", "range", "unchecked_cast", "uninitialized", "isinstance"});

/// Names that begin with two underscores but are not special methods that LibTorch calls.
constexpr auto kSpecialNames =
    std::to_array<std::string_view>({"__torch__", "__parameters__", "__buffers__", "__annotations__",
                                     "__len__", "__derive_index", "__isnot__", "__is__", "__range_length"});

template <std::size_t N>
bool holds(const std::array<std::string_view, N>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// Whether LibTorch has an operator of that name in any namespace; `x.name(...)` calls it too.
bool is_operator(const std::string& name) {
    static const std::set<std::string> names = [] {
        std::set<std::string> found;
        for (const auto& op : torch::jit::getAllOperators()) {
            const std::string& qualified = op->schema().name();
            found.insert(qualified.substr(qualified.rfind(':') + 1));
        }
        return found;
    }();
    return names.contains(name);
}

class CodeCheck {
  public:
    CodeCheck(const std::string& source, const std::string& path) : path_(path) {
        torch::jit::Lexer lexer(std::make_shared<torch::jit::Source>(source, path, 1));
        while (lexer.cur().kind != torch::jit::TK_EOF) {
            tokens_.push_back(lexer.next());
        }
    }

    void run() const {
        for (std::size_t i = 0; i < tokens_.size(); ++i) {
            if (tokens_[i].kind == torch::jit::TK_IDENT) check_name(i);
        }
    }

  private:
    std::string text(std::size_t i) const { return i < tokens_.size() ? tokens_[i].text() : ""; }
    bool is(std::size_t i, int kind) const { return i < tokens_.size() && tokens_[i].kind == kind; }

    [[noreturn]] void refuse(std::size_t i, const std::string& why) const {
        throw InputError(
            path_ + ", line " +
            std::to_string(tokens_[i].range.source()->lineno_for_offset(tokens_[i].range.start()) + 1) +
            ": " + why + ", which no module of ours does: the bundle is damaged or not to be trusted");
    }

    void check_name(std::size_t i) const {
        const std::string name = text(i);
        const bool is_member = i > 0 && is(i - 1, '.');
        if (name.starts_with("__") && !name.starts_with("___torch_mangle_") && !holds(kSpecialNames, name))
            refuse(i, "uses " + name);
        if (is_member) {
            if (name == "classes" && text(i - 2) == "torch") refuse(i, "uses a custom class");
            if (is_operator(name) && !holds(kOperators, name)) refuse(i, "calls " + name);
            return;
        }
        if ((name == "torch" || name == "ops") && !is(i + 1, '.')) refuse(i, "passes " + name + " on");
        if (!is(i + 1, '(') || is_definition(i)) return;
        if (name == "getattr") {
            check_getattr(i);
        } else if (!holds(kFunctions, name) && !is_local(name)) {
            refuse(i, "calls " + name);
        }
    }

    /// `def NAME(` and `class NAME(`.
    bool is_definition(std::size_t i) const {
        return i > 0 && (is(i - 1, torch::jit::TK_DEF) || is(i - 1, torch::jit::TK_CLASS_DEF));
    }

    /// _12: the name that a function of the archive is bound to before it is called.
    static bool is_local(const std::string& name) {
        return name.size() > 1 && name.front() == '_' &&
               name.find_first_not_of("0123456789", 1) == std::string::npos;
    }

    /// getattr(layers, "3")
    void check_getattr(std::size_t i) const {
        const std::string item = text(i + 4);
        const bool is_number = item.size() > 2 && item.find_first_not_of("0123456789", 1) == item.size() - 1;
        if (!is(i + 2, torch::jit::TK_IDENT) || !is(i + 3, ',') || !is(i + 4, torch::jit::TK_STRINGLITERAL) ||
            !is(i + 5, ')') || !is_number || text(i + 2) == "torch" || text(i + 2) == "ops")
            refuse(i, "calls getattr");
    }

    std::string path_;
    std::vector<Token> tokens_;
};

}  // namespace

void check_module_code(const std::string& source, const std::string& path) {
    CodeCheck(source, path).run();
}

void check_module_class(std::string_view qualified_name) {
    if (qualified_name.starts_with("__torch__.") && !qualified_name.starts_with("__torch__.torch.classes."))
        return;
    throw InputError("holds an object of the class " + std::string(qualified_name) +
                     ", which no module of ours does: the bundle is damaged or not to be trusted");
}

}  // namespace musicsteer
