#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace musicsteer {

/// A clip of the plan that is missing, and why.
struct MissingClip {
    std::string id;
    std::string reason;
    bool overflowed = false;  ///< its activations became infinite because of the steering
};

/// The result of a sweep or a merge, in clips.
struct SweepOutcome {
    std::int64_t planned = 0;
    std::int64_t found = 0;  ///< existed before
    std::int64_t made = 0;
    std::vector<MissingClip> missing;
};

}  // namespace musicsteer
