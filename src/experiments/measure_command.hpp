#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "musicsteer/audio_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {

/// The command of --measure-command cannot be used. It ends a run, unlike a clip that cannot be measured.
class MeasureCommandError : public Error {
  public:
    using Error::Error;
};

/// Measures by name; nothing where one is not defined.
using OwnMeasures = std::map<std::string, std::optional<double>>;

/// A shell command that measures audio files for as long as the object lives: it reads a path a line, and
/// answers each with one line, a JSON object of numbers or null (docs/measures.md).
class MeasureCommand {
  public:
    /// Starts it and lets it measure two seconds of ticks, to learn the names of its measures.
    /// @throws MeasureCommandError, also for a name that a measure of ours has
    explicit MeasureCommand(std::string command);
    ~MeasureCommand();
    MeasureCommand(const MeasureCommand&) = delete;
    MeasureCommand& operator=(const MeasureCommand&) = delete;

    /// Sorted.
    const std::vector<std::string>& names() const { return names_; }

    /// @throws MeasureCommandError
    OwnMeasures measure(const std::filesystem::path& file);
    /// The same of audio that lies in no file: it is written to a temporary one. @throws OutputError
    OwnMeasures measure(const Audio& audio, SampleFormat format);

  private:
    void start();
    void stop();
    /// Waits a moment for the shell, and for what it started, to end. @return the shell's status, if it ended
    std::optional<int> wait_for_end();
    std::string answer_to(const std::string& path);
    void learn_names();
    [[noreturn]] void fail(const std::string& what);

    std::string command_;
    std::vector<std::string> names_;
    std::filesystem::path folder_;  ///< of the temporary file
    std::string unread_;
    int socket_ = -1;            ///< its input and output
    pid_t process_ = -1;         ///< the shell, and the group of what it started; -1: all have ended
    std::optional<int> status_;  ///< of the shell, once it has ended
};

}  // namespace musicsteer
