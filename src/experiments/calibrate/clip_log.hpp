#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <utility>
#include <vector>

#include "io/record_log.hpp"

namespace musicsteer {

/// What was measured on one clip of a calibration.
struct ClipFigures {
    std::vector<double> values;  ///< [target]; NaN where the measure is not defined
    double kl = 0.0;             ///< nats a code; infinite where the clip failed
};

/// The figures of a calibration's clips in a file that grows while it runs, so that a killed one is resumed:
/// the search asks for the same clips again. Gone when the calibration is done.
class ClipLog {
  public:
    /// Reads the file, or begins it. @param identity  all that determines the figures
    /// @throws InputError if the file is another calibration's; @throws OutputError
    ClipLog(std::filesystem::path path, const nlohmann::json& identity);
    ~ClipLog();

    std::size_t size() const { return figures_.size(); }
    /// Null if the clip has not been made. @param strengths  of each vector
    const ClipFigures* find(const std::vector<double>& strengths, std::size_t pair) const;
    void append(const std::vector<double>& strengths, std::size_t pair, const ClipFigures& figures);
    /// Removes the file: nothing is left to resume.
    void remove();

  private:
    std::filesystem::path path_;
    std::map<std::pair<std::vector<double>, std::size_t>, ClipFigures> figures_;
    std::unique_ptr<RecordLog> log_;
};

}  // namespace musicsteer
