#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace musicsteer::cli {

/// "3 min 20 s"
std::string format_duration(double seconds);

/// One line on stderr with the share done and the time left, only on a terminal; gone when the work is done.
class Progress {
  public:
    explicit Progress(std::string label);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void update(std::int64_t done, std::int64_t total);
    /// The same with a count and a rate: "12 of 64 clips, 0.8 clips/s". @param done  parts of one included
    void update_units(double done, std::int64_t total, const std::string& unit);

  private:
    using Clock = std::chrono::steady_clock;

    bool is_due(double done);
    void show(double done, double total, const std::string& count) const;
    double rate(double done) const;

    std::string label_;
    bool on_terminal_;
    Clock::time_point start_ = Clock::now();
    Clock::time_point last_shown_{};
    double first_done_ = -1.0;  ///< where this run began: resumed work must not flatter the rate
};

}  // namespace musicsteer::cli
