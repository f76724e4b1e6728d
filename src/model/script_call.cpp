#include "model/script_call.hpp"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <exception>
#include <new>
#include <string_view>

#include "model/memory.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// The interpreter puts the cause last, as "RuntimeError: ...", after a trace. Elsewhere it is the first
/// line.
std::string cause_of(const std::string& text) {
    static const std::string kLabel = "RuntimeError: ";
    const std::size_t label = text.rfind(kLabel);
    const std::size_t start = label == std::string::npos ? 0 : label + kLabel.size();
    return text.substr(start, text.find('\n', start) - start);
}

/// LibTorch's allocator has no exception type, and the interpreter keeps only the text.
bool is_about_memory(std::string_view text) {
    constexpr std::array<std::string_view, 4> kWords = {"can't allocate memory", "not enough memory",
                                                        "out of memory", "std::bad_alloc"};
    return std::any_of(kWords.begin(), kWords.end(),
                       [&](std::string_view words) { return text.find(words) != std::string_view::npos; });
}

[[noreturn]] void fail(const std::string& what, const std::string& text) {
    if (is_about_memory(text)) throw ResourceError(kOutOfMemory);
    throw ModelError(what + " failed: " + cause_of(text));
}

}  // namespace

void rethrow_as_ours(const std::string& what) {
    try {
        throw;
    } catch (const Error&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw ResourceError(kOutOfMemory);
    } catch (const c10::Error& error) {
        fail(what, error.what_without_backtrace());
    } catch (const std::exception& error) {  // operators inside the interpreter do not throw c10::Error
        fail(what, error.what());
    }
}

c10::IValue call_script(const torch::jit::Method& method, std::vector<c10::IValue> arguments,
                        const std::string& what) {
    try {
        return method(std::move(arguments));
    } catch (...) {
        rethrow_as_ours(what + " in " + method.name());
    }
}

}  // namespace musicsteer
