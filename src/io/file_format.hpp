#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "io/json_view.hpp"

namespace musicsteer {

/// What a file of ours says of itself, so that later versions can tell what they read.
struct FileFormat {
    const char* name;
    int version = 1;
    int oldest_reader = 1;  ///< the lowest version whose programs can read it

    /// {"format", "format_version", "oldest_reader"}, to which a file adds its content.
    nlohmann::json stamp() const;

    /// @throws InputError unless the file is of this format and for programs of this version.
    void check(const JsonView& root) const;
    void check_name(const JsonView& root) const;
    void check_reader(const JsonView& root) const;
};

}  // namespace musicsteer
