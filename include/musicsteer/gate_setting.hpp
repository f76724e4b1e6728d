#pragma once

#include <cstdint>
#include <string>

namespace musicsteer {

struct Gate;
struct VectorFile;

/// A gate as typed and recorded; with the direction from its vector file it becomes a Gate.
struct GateSetting {
    std::string file;        ///< vector file that holds the direction
    std::string sha256;      ///< of that file; empty if not known yet
    std::string point_name;  ///< where the activation is read, and the direction's name in the file
    bool below = true;       ///< open while the cosine is below the threshold; false: above it
    double threshold = 0.0;

    /// @param condition  "decoder.12.resid_post<0.3" or ">0.3". @throws UsageError
    static GateSetting parse(const std::string& file, const std::string& condition);
    /// "FILE@decoder.12.resid_post<0.3". @throws UsageError
    static GateSetting parse(const std::string& text);
    std::string condition() const;

    /// @throws UsageError if the model has no such point, or the file no direction there or a zero one
    Gate with_direction(const VectorFile& vectors, std::int64_t num_layers) const;
};

}  // namespace musicsteer
