#include "steering/bundle_directions.hpp"

#include <algorithm>

namespace musicsteer {

namespace fs = std::filesystem;

fs::path direction_file(const fs::path& bundle, const std::string& name) {
    return bundle / "directions" / (name + ".json");
}

std::vector<std::string> direction_names(const fs::path& bundle) {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(bundle / "directions", ignored)) {
        if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace musicsteer
