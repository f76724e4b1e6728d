#include "io/file_format.hpp"

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::int64_t kMaxVersion = std::int64_t{1} << 20;

}  // namespace

nlohmann::json FileFormat::stamp() const {
    return {{"format", name}, {"format_version", version}, {"oldest_reader", oldest_reader}};
}

void FileFormat::check(const JsonView& root) const {
    check_name(root);
    check_reader(root);
}

void FileFormat::check_name(const JsonView& root) const {
    const JsonView format = root.at("format");
    if (format.text() != name)
        format.fail("expected " + in_quotes(name) + ", found " + in_quotes(format.text()));
}

void FileFormat::check_reader(const JsonView& root) const {
    const std::int64_t needed = root.at("oldest_reader").integer(1, kMaxVersion);
    if (needed > version) {
        root.fail("written for a newer musicsteer (format version " + std::to_string(needed) +
                  ", this one reads up to " + std::to_string(version) + "); update musicsteer");
    }
}

}  // namespace musicsteer
