#pragma once

#include <string>
#include <string_view>

namespace musicsteer {

/// Text from a file as it may be printed: control characters, with which it could do to a terminal what it
/// likes, become \x1b and the like.
std::string printable(std::string_view text);

}  // namespace musicsteer
