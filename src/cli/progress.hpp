#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace musicsteer::cli {

/// One line on stderr with the share done and the time left, only on a terminal; gone when the work is done.
class Progress {
  public:
    explicit Progress(std::string label);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void update(std::int64_t done, std::int64_t total);

  private:
    using Clock = std::chrono::steady_clock;

    std::string label_;
    bool on_terminal_;
    Clock::time_point start_ = Clock::now();
    Clock::time_point last_shown_{};
    std::int64_t first_done_ = -1;  ///< where this run began: resumed work must not flatter the rate
};

}  // namespace musicsteer::cli
