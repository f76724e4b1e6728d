#include "base/printable.hpp"
#include "inspection/inspect.hpp"

namespace musicsteer::inspection {

void print_field(std::ostream& out, const std::string& name, const std::string& value) {
    if (value.empty()) return;
    const std::string key = printable(name);
    out << key << std::string(key.size() < 18 ? 18 - key.size() : 1, ' ') << printable(value) << '\n';
}

}  // namespace musicsteer::inspection
