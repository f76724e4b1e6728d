#pragma once

#include <cstdint>

namespace musicsteer {

/// How a token is drawn from logits. Defaults are audiocraft's.
struct SamplingOptions {
    double guidance_scale = 3.0;  ///< u + s (c - u); 1 is off and halves the rows
    std::int64_t top_k = 250;     ///< 0 is off; 1 is greedy
    double top_p = 0.0;           ///< 0 is off; else keep the smallest set with at least this probability
    double temperature = 1.0;     ///< 1e-6 or more

    bool guided() const { return guidance_scale != 1.0; }
    /// @throws UsageError
    void validate() const;
};

}  // namespace musicsteer
