#include "io/mapped_file.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

#include "base/errors.hpp"
#include "io/input_file.hpp"

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

void MappedFile::release(const void* begin, std::size_t count) const {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto from = reinterpret_cast<std::uintptr_t>(begin);
    const std::uintptr_t first = (from + page - 1) / page * page, end = (from + count) / page * page;
    if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

}  // namespace musicsteer
