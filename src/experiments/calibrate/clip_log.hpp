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

/// Measurements of one clip of a calibration.
struct ClipFigures {
    std::vector<double> values;  ///< [target]; NaN if the measure is undefined
    double kl = 0.0;             ///< nats a code; infinite if the clip failed
};

/// Measurements of a calibration's clips, in a file that grows while it runs, so that a killed calibration
/// can be resumed: the search asks for the same clips again. Removed at the end.
class ClipLog {
  public:
    /// Reads or creates the file. @param identity  everything that determines the measurements
    /// @throws InputError if the file belongs to another calibration; @throws OutputError
    ClipLog(std::filesystem::path path, const nlohmann::json& identity);
    ~ClipLog();

    std::size_t size() const { return figures_.size(); }
    /// Null if the clip was not made yet. @param strengths  of each vector
    const ClipFigures* find(const std::vector<double>& strengths, std::size_t pair) const;
    void append(const std::vector<double>& strengths, std::size_t pair, const ClipFigures& figures);
    /// Removes the file.
    void remove();

  private:
    std::filesystem::path path_;
    std::map<std::pair<std::vector<double>, std::size_t>, ClipFigures> figures_;
    std::unique_ptr<RecordLog> log_;
};

}  // namespace musicsteer
