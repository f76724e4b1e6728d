#pragma once

#include <string>

#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {

/// Checks a path that records will contain, before any work: JSON needs UTF-8. @throws UsageError
inline void require_utf8_path(const std::string& path) {
    if (find_invalid_utf8(path))
        throw UsageError(in_quotes(path) +
                         ": a path that is not UTF-8 can't be written into records; rename the file");
}

}  // namespace musicsteer
