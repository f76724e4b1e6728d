#pragma once

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <streambuf>
#include <string>

namespace musicsteer::cli {

/// "3 min 20 s"
std::string format_duration(double seconds);

/// The share done and the time left, on stderr: on a terminal one line that is rewritten, and removed at the
/// end; elsewhere a line every 10 % or 30 s, whichever comes first, and none in the first second. Nothing
/// with --quiet.
class Progress {
  public:
    explicit Progress(std::string label);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void update(std::int64_t done, std::int64_t total);
    /// The same with a count and a rate: "12 of 64 clips, 0.8 clips/s". @param done  including fractions
    void update_units(double done, std::int64_t total, const std::string& unit);

  private:
    using Clock = std::chrono::steady_clock;

    bool is_due(double done, double total);
    void show(double done, double total, const std::string& count) const;
    double rate(double done) const;

    std::string label_;
    bool is_wanted_;
    bool on_terminal_;
    Clock::time_point start_ = Clock::now();
    Clock::time_point last_shown_ = start_;
    double shown_share_ = 0.0;
    double first_done_ = -1.0;  ///< where this run began, so that resumed work does not inflate the rate
};

/// Clears the line of progress from the terminal, if there is one.
void clear_progress();

/// While it exists, output to the stream replaces a line of progress.
class ClearsProgress {
  public:
    explicit ClearsProgress(std::ostream& stream);
    ~ClearsProgress();
    ClearsProgress(const ClearsProgress&) = delete;
    ClearsProgress& operator=(const ClearsProgress&) = delete;

  private:
    std::ostream& stream_;
    std::streambuf* target_;
    std::unique_ptr<std::streambuf> buffer_;
};

}  // namespace musicsteer::cli
