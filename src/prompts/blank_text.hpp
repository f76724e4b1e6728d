#pragma once

#include <string_view>

namespace musicsteer {

/// Whether there is nothing but white space, as Unicode and JSON Schema have it. @param text  UTF-8
bool is_blank(std::string_view text);

}  // namespace musicsteer
