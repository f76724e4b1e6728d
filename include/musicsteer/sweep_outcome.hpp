#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace musicsteer {

/// A clip of the plan that is not there, and why.
struct MissingClip {
    std::string id;
    std::string reason;
    bool overflowed = false;  ///< its activations became infinite: the reason is the steering
};

/// What a sweep or a merge came to, in clips.
struct SweepOutcome {
    std::int64_t planned = 0;
    std::int64_t found = 0;  ///< were there before
    std::int64_t made = 0;
    std::vector<MissingClip> missing;
};

}  // namespace musicsteer
