#include "io/mapped_file.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "io/input_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {

MappedFile::MappedFile(const std::filesystem::path& path) {
    const InputFile file(path);
    if (file.size() == 0) throw InputError(path.string() + ": the file is empty");
    void* const start = ::mmap(nullptr, file.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
                               file.descriptor(), 0);
    if (start == MAP_FAILED) {
        const std::string reason = std::generic_category().message(errno);
        throw ResourceError(path.string() + ": cannot be mapped into memory: " + reason);
    }
    bytes_ = {static_cast<char*>(start), file.size()};
}

MappedFile::~MappedFile() {
    ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace musicsteer
