#include "bundle/module_code.hpp"

#include <torch/csrc/jit/frontend/parser.h>
#include <torch/csrc/jit/frontend/tree_views.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "bundle/allowed_code.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using namespace torch::jit;

/// Whether LibTorch has an operator of that name in any namespace; `x.name(...)` calls it too.
bool is_operator(const std::string& name) {
    static const std::set<std::string> names = [] {
        std::set<std::string> found;
        for (const auto& op : getAllOperators()) {
            const std::string& qualified = op->schema().name();
            found.insert(qualified.substr(qualified.rfind(':') + 1));
        }
        return found;
    }();
    return names.contains(name);
}

bool is_digits(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

/// The names of `__torch__.torch.nn.Linear`; empty for any other expression.
std::vector<std::string> dotted_names(const TreeRef& tree) {
    if (tree->kind() == TK_VAR) return {Var(tree).name().name()};
    if (tree->kind() != '.') return {};
    std::vector<std::string> names = dotted_names(Select(tree).value().tree());
    if (!names.empty()) names.push_back(Select(tree).selector().name());
    return names;
}

/// A name of the archive itself, which cannot be a custom class.
bool is_archive_name(const std::vector<std::string>& names) {
    return names.size() > 1 && names[0] == "__torch__" &&
           !(names[1] == "torch" && names.size() > 2 && names[2] == "classes");
}

/// Allows the syntax that LibTorch prints for our modules, and nothing else.
class CodeCheck {
  public:
    CodeCheck(const std::string& source, const std::string& path)
        : path_(path), source_(std::make_shared<Source>(source, path, 1)), parser_(source_) {}

    void run() {
        check_lines();
        check_depth();
        while (parser_.lexer().cur().kind != TK_EOF) {
            const Token token = parser_.lexer().cur();
            if (token.kind == TK_CLASS_DEF) {
                check_class(ClassDef(parser_.parseClass()));
            } else if (token.kind == TK_DEF) {
                check_function(Def(parser_.parseFunction(/*is_method=*/false)));
            } else {
                refuse(token.range, "has " + token.kindString() + " outside of classes and functions");
            }
        }
    }

  private:
    [[noreturn]] void refuse(const SourceRange& range, const std::string& why) const {
        throw InputError(path_ + ", line " +
                         std::to_string(range.source()->lineno_for_offset(range.start()) + 1) + ": " + why +
                         ", which no module of ours does: the bundle is damaged or not to be trusted");
    }
    [[noreturn]] void refuse(const TreeRef& tree, const std::string& why) const {
        refuse(tree->range(), why);
    }
    [[noreturn]] void refuse_syntax(const TreeRef& tree) const {
        refuse(tree, "uses '" + kindToString(tree->kind()) + "'");
    }

    // LibTorch's lexer calls itself at each blank line, comment and continued line, and its parser, as this
    // one, for what stands inside something else: code could use up the stack.

    void check_lines() const {
        constexpr int kMostBlank = 10;  // in a row
        const std::string text = source_->text_str().str();
        int blank = 0;
        for (std::size_t start = 0; start < text.size();) {
            const std::size_t end = std::min(text.find('\n', start), text.size());
            const std::string_view line = std::string_view(text).substr(start, end - start);
            const std::size_t first = line.find_first_not_of(" \t");
            const std::size_t last = line.find_last_not_of(" \t\r");
            const SourceRange range(source_, start, end);
            blank = last == line.npos ? blank + 1 : 0;
            if (blank > kMostBlank) refuse(range, "has that many blank lines");
            if (first != line.npos && line[first] == '#') refuse(range, "has a comment");
            if (last != line.npos && line[last] == '\\') refuse(range, "continues a line");
            start = end + 1;
        }
    }

    void check_depth() const {
        constexpr int kMostTokens = 500, kMostBlocks = 50;  // our modules have 56 in a statement and 5 blocks
        Lexer lexer(source_);
        int tokens = 0, blocks = 0;
        for (; lexer.cur().kind != TK_EOF; lexer.next()) {
            const Token& token = lexer.cur();
            const bool begins_block = token.kind == TK_INDENT;
            tokens = begins_block || token.kind == TK_NEWLINE ? 0 : tokens + 1;
            blocks += begins_block ? 1 : token.kind == TK_DEDENT ? -1 : 0;
            if (tokens > kMostTokens || blocks > kMostBlocks)
                refuse(token.range, "has code nested that deep");
            if (token.kind == TK_ELIF)
                refuse(token.range, "uses 'elif'");  // each is nested in the one before
        }
    }

    // Classes: a list of attributes with their types, constants, and methods.

    void check_class(const ClassDef& definition) {
        const Maybe<Expr> base = definition.superclass();
        if (!base.present() || dotted_names(base.get().tree()) != std::vector<std::string>{"Module"})
            refuse(definition.tree(), "has the class " + definition.name().name() + ", not a module");
        for (const Stmt& statement : definition.body()) {
            if (statement.kind() == TK_DEF) {
                check_function(Def(statement.tree()));
            } else if (statement.kind() == TK_ASSIGN) {
                check_attribute(Assign(statement.tree()));
            } else {
                refuse_syntax(statement.tree());
            }
        }
    }

    void check_attribute(const Assign& assign) const {
        if (assign.lhs_list().size() != 1) refuse_syntax(assign.tree());
        const Expr target = assign.lhs();
        if (target.kind() == TK_SUBSCRIPT) {  // __annotations__["0"] = __torch__.Linear
            const Subscript entry(target.tree());
            const bool is_named =
                dotted_names(entry.value().tree()) == std::vector<std::string>{"__annotations__"} &&
                entry.subscript_exprs().size() == 1 && entry.subscript_exprs()[0].kind() == TK_STRINGLITERAL;
            if (!is_named || !assign.rhs().present()) refuse_syntax(target.tree());
            check_type(assign.rhs().get().tree());
            return;
        }
        if (target.kind() != TK_VAR) refuse_syntax(target.tree());
        const std::string name = Var(target.tree()).name().name();
        if (name.starts_with("__") && !holds(kClassLists, name)) refuse(target.tree(), "uses " + name);
        if (assign.type().present()) check_type(assign.type().get().tree());
        if (assign.rhs().present()) check_literal(assign.rhs().get().tree());
    }

    void check_type(const TreeRef& tree) const {
        const std::vector<std::string> names = dotted_names(tree);
        if (is_archive_name(names) || (names.size() == 1 && holds(kTypes, names[0]))) return;
        if (tree->kind() == TK_NONE || tree->kind() == TK_NONE_TYPE) return;
        if (tree->kind() != TK_SUBSCRIPT) refuse(tree, "uses another type");
        const Subscript generic(tree);
        const std::vector<std::string> base = dotted_names(generic.value().tree());
        if (base.size() != 1 || !holds(kGenericTypes, base[0])) refuse(tree, "uses another type");
        for (const Expr& part : generic.subscript_exprs()) check_type(part.tree());
    }

    void check_literal(const TreeRef& tree) const {
        switch (tree->kind()) {
            case TK_CONST:
            case TK_STRINGLITERAL:
            case TK_TRUE:
            case TK_FALSE:
            case TK_NONE:
                return;
            case TK_UNARY_MINUS:
            case TK_LIST_LITERAL:
            case TK_TUPLE_LITERAL:
            case TK_LIST:
                for (const TreeRef& part : tree->trees()) check_literal(part);
                return;
            default:
                refuse(tree, "has a constant that is computed");
        }
    }

    // Functions: names are bound before they are used, to a value or to a function of the archive.

    void check_function(const Def& function) {
        const std::string name = function.name().name();
        if (name.starts_with("__") && name != "__len__") refuse(function.tree(), "uses " + name);
        values_.clear();
        functions_.clear();
        for (const Param& parameter : function.decl().params()) {
            if (parameter.type().present()) check_type(parameter.type().get().tree());
            if (parameter.defaultValue().present()) check_literal(parameter.defaultValue().get().tree());
            bind(parameter.ident());
        }
        if (function.decl().return_type().present()) check_type(function.decl().return_type().get().tree());
        check_statements(function.statements());
    }

    void bind(const Ident& ident) {
        const std::string name = ident.name();
        if (name.starts_with("__") || name == "torch" || name == "ops" || name == "CONSTANTS" ||
            name == "getattr" || holds(kFunctions, name) || functions_.contains(name))
            refuse(ident.tree(), "gives another meaning to " + name);
        values_.insert(name);
    }

    void bind_all(const List<Expr>& targets) {
        for (const Expr& target : targets) {
            if (target.kind() == TK_TUPLE_LITERAL) {
                bind_all(TupleLiteral(target.tree()).inputs());
            } else if (target.kind() == TK_VAR) {
                bind(Var(target.tree()).name());
            } else {
                refuse_syntax(target.tree());
            }
        }
    }

    void check_statements(const List<Stmt>& statements) {
        for (const Stmt& statement : statements) check_statement(statement.tree());
    }

    void check_statement(const TreeRef& tree) {
        switch (tree->kind()) {
            case TK_ASSIGN:
                return check_assignment(Assign(tree));
            case TK_EXPR_STMT:
                return check_value(ExprStmt(tree).expr().tree());
            case TK_RETURN:
                return check_value(Return(tree).expr().tree());
            case TK_PASS:
                return;
            case TK_IF:
                check_value(If(tree).cond().tree());
                check_statements(If(tree).trueBranch());
                return check_statements(If(tree).falseBranch());
            case TK_FOR:
                for (const Expr& values : For(tree).itrs()) check_value(values.tree());
                bind_all(For(tree).targets());
                return check_statements(For(tree).body());
            default:
                refuse_syntax(tree);
        }
    }

    void check_assignment(const Assign& assign) {
        if (!assign.rhs().present()) refuse_syntax(assign.tree());
        const TreeRef value = assign.rhs().get().tree();
        if (assign.type().present()) check_type(assign.type().get().tree());
        if (is_archive_name(dotted_names(value))) return bind_function(assign);
        check_value(value);
        bind_all(assign.lhs_list());
    }

    /// _0 = __torch__.torch.nn.functional.relu
    void bind_function(const Assign& assign) {
        const TreeRef target = assign.lhs_list().size() == 1 ? assign.lhs().tree() : assign.tree();
        const std::string name = target->kind() == TK_VAR ? Var(target).name().name() : "";
        if (!name.starts_with('_') || !is_digits(name.substr(1)) || values_.contains(name))
            refuse(target, "binds a function to another name than _0, _1, ...");
        functions_.insert(name);
    }

    // Values.

    void check_value(const TreeRef& tree) const {
        switch (tree->kind()) {
            case TK_CONST:
            case TK_STRINGLITERAL:
            case TK_TRUE:
            case TK_FALSE:
            case TK_NONE:
                return;
            case TK_UNARY_MINUS:
            case TK_LIST_LITERAL:
            case TK_TUPLE_LITERAL:
            case TK_SUBSCRIPT:
            case TK_LIST:
                for (const TreeRef& part : tree->trees()) check_value(part);
                return;
            case TK_VAR:
                return check_name(Var(tree).name());
            case '.':
                return check_member(Select(tree));
            case TK_APPLY:
                return check_call(Apply(tree));
            default:
                refuse_syntax(tree);
        }
    }

    void check_name(const Ident& ident) const {
        const std::string name = ident.name();
        if (!values_.contains(name) && name != "inf" && name != "nan")
            refuse(ident.tree(), "uses " + name + " as a value");
    }

    void check_member(const Select& select) const {
        const std::vector<std::string> names = dotted_names(select.tree());
        if (names.size() == 2 && names[0] == "CONSTANTS") return;
        const std::string member = select.selector().name();
        if (member.starts_with("__")) refuse(select.tree(), "uses " + member);
        check_value(select.value().tree());
    }

    void check_call(const Apply& call) const {
        for (const Attribute& named : call.attributes()) check_value(named.value().tree());
        const TreeRef callee = call.callee().tree();
        if (callee->kind() == TK_VAR) return check_function_call(call, Var(callee).name().name());
        for (const Expr& input : call.inputs()) check_value(input.tree());
        if (callee->kind() != '.') refuse(callee, "calls what is not a name");
        const Select method(callee);
        const std::string name = method.selector().name();
        if (name.starts_with("__") && name != "__len__" && !holds(kOperators, name))
            refuse(callee, "uses " + name);
        if (is_operator(name) && !holds(kOperators, name)) refuse(callee, "calls " + name);
        const std::vector<std::string> names = dotted_names(callee);
        if (is_archive_name(names)) return;
        const bool is_in_torch = names.size() == 2 && names[0] == "torch";
        const bool is_in_ops =
            names.size() == 3 && names[0] == "ops" && (names[1] == "prim" || names[1] == "mkldnn");
        if (!is_in_torch && !is_in_ops) return check_value(method.value().tree());  // a method of it
        if (!holds(kOperators, name)) refuse(callee, "calls " + name);
    }

    void check_function_call(const Apply& call, const std::string& name) const {
        const List<Expr> inputs = call.inputs();
        if (name == "getattr") {  // getattr(layers, "3"): an item of a list
            if (inputs.size() != 2 || inputs[1].kind() != TK_STRINGLITERAL ||
                !is_digits(StringLiteral(inputs[1].tree()).text()))
                refuse(call.tree(), "calls getattr");
            return check_value(inputs[0].tree());
        }
        if (!holds(kFunctions, name) && !functions_.contains(name)) refuse(call.tree(), "calls " + name);
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            if (i == 0 && holds(kFunctionsOfTypes, name)) {
                check_type(inputs[i].tree());
            } else {
                check_value(inputs[i].tree());
            }
        }
    }

    std::string path_;
    std::shared_ptr<Source> source_;
    Parser parser_;
    std::set<std::string> values_;     ///< names bound so far in the function
    std::set<std::string> functions_;  ///< those bound to functions of the archive
};

}  // namespace

void check_module_code(const std::string& source, const std::string& path) {
    CodeCheck(source, path).run();
}

void check_module_class(std::string_view qualified_name) {
    if (qualified_name.starts_with("__torch__.") && !qualified_name.starts_with("__torch__.torch.classes."))
        return;
    throw InputError("holds an object of the class " + in_quotes(qualified_name) +
                     ", which no module of ours does: the bundle is damaged or not to be trusted");
}

}  // namespace musicsteer
