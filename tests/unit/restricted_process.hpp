#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace musicsteer {

/// While it lives, files cannot grow beyond `bytes`: writing fails with EFBIG, as it does on a full disk with
/// ENOSPC.
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &old_);
        const rlimit limited{bytes, old_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limited);
    }
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &old_);
        std::signal(SIGXFSZ, old_handler_);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;

  private:
    rlimit old_{};
    void (*old_handler_)(int);
};

/// While it lives, a test that runs as root has an ordinary user's rights, so that permissions mean
/// something.
class OrdinaryUser {
  public:
    OrdinaryUser() : old_(::geteuid()) {
        if (old_ == 0 && ::seteuid(65534) != 0) return;
    }
    ~OrdinaryUser() {
        if (::geteuid() != old_ && ::seteuid(old_) != 0) std::abort();
    }
    OrdinaryUser(const OrdinaryUser&) = delete;
    OrdinaryUser& operator=(const OrdinaryUser&) = delete;

  private:
    uid_t old_;
};

}  // namespace musicsteer
