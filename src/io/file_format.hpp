#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "io/json_view.hpp"

namespace musicsteer {

/// Format name and versions that a file states, so that later versions know what they read.
struct FileFormat {
    const char* name;
    int version = 1;
    int oldest_reader = 1;  ///< the lowest version whose programs can read it

    /// {"format", "format_version", "oldest_reader"}, which a file adds to its content.
    nlohmann::json stamp() const;

    /// @throws InputError unless the file is of this format and for programs of this version.
    void check(const JsonView& root) const;
    void check_name(const JsonView& root) const;
    void check_reader(const JsonView& root) const;
};

}  // namespace musicsteer
