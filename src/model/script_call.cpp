#include "model/script_call.hpp"

#include <c10/util/Exception.h>

#include <exception>

#include "base/errors.hpp"

namespace musicsteer {
namespace {

/// The interpreter puts the cause last, as "RuntimeError: ...", after a trace; elsewhere it is the first
/// line.
std::string cause_of(const std::string& text) {
    static const std::string kLabel = "RuntimeError: ";
    const std::size_t label = text.rfind(kLabel);
    const std::size_t start = label == std::string::npos ? 0 : label + kLabel.size();
    return text.substr(start, text.find('\n', start) - start);
}

}  // namespace

c10::IValue call_script(const torch::jit::Method& method, std::vector<c10::IValue> arguments,
                        const std::string& what) {
    try {
        return method(std::move(arguments));
    } catch (const c10::Error& error) {
        throw ModelError(what + " failed in " + method.name() + ": " +
                         cause_of(error.what_without_backtrace()));
    } catch (const std::exception& error) {  // what operators throw inside the interpreter is no c10::Error
        throw ModelError(what + " failed in " + method.name() + ": " + cause_of(error.what()));
    }
}

}  // namespace musicsteer
