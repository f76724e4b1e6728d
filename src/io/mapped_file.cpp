#include "io/mapped_file.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>

#include "io/input_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// What the SIGBUS handler reads. It must not lock or allocate.
struct Mapping {
    std::atomic<std::uintptr_t> begin{0};  ///< 0: free
    std::uintptr_t end = 0;
    char message[PATH_MAX + 128] = {};
};
std::array<Mapping, 16> mappings;

void remember(const std::filesystem::path& path, std::span<const char> bytes) {
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    for (Mapping& mapping : mappings) {
        if (mapping.begin != 0) continue;
        mapping.end = begin + bytes.size();
        std::snprintf(mapping.message, sizeof mapping.message,
                      "error: %s: became shorter while it was in use; restore it and repeat the command\n",
                      path.c_str());
        mapping.begin = begin;
        return;
    }
}

void forget(std::span<const char> bytes) {
    for (Mapping& mapping : mappings)
        if (mapping.begin == reinterpret_cast<std::uintptr_t>(bytes.data())) mapping.begin = 0;
}

void on_bus_error(int signal, siginfo_t* info, void*) {
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    for (const Mapping& mapping : mappings) {
        const std::uintptr_t begin = mapping.begin;
        if (begin == 0 || address < begin || address >= mapping.end) continue;
        (void)!::write(STDERR_FILENO, mapping.message, ::strlen(mapping.message));
        ::_exit(1);
    }
    ::signal(signal, SIG_DFL);  // another cause: default handling
    ::raise(signal);
}

}  // namespace

void report_changed_mappings() {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &action, nullptr);
}

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
    remember(path, bytes_);
}

MappedFile::~MappedFile() {
    forget(bytes_);
    ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace musicsteer
