#include "io/bundle_guard.hpp"

#include <string>
#include <system_error>

#include "io/input_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace fs = std::filesystem;
namespace {

/// Also for a bundle that is damaged or too new to be opened.
bool is_bundle(const fs::path& folder) {
    const fs::path manifest = folder / "manifest.json";
    std::error_code ignored;
    if (!fs::is_regular_file(manifest, ignored)) return false;
    try {
        return read_text_file(manifest).find("\"musicsteer-bundle\"") != std::string::npos;
    } catch (const InputError&) {
        return false;
    }
}

}  // namespace

void require_outside_bundle(const fs::path& path) {
    std::error_code error;
    fs::path folder = fs::weakly_canonical(fs::absolute(path, error), error);
    if (error) return;  // writing will say why
    for (; folder.has_relative_path(); folder = folder.parent_path()) {
        if (!is_bundle(folder)) continue;
        throw OutputError(path.string() + ": would be written into the model bundle " + folder.string() +
                          "; choose another place");
    }
}

}  // namespace musicsteer
