#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "directions/vector_file.hpp"
#include "model/hooks.hpp"

namespace musicsteer {

/// Lets a vector steer only while the cosine between the activation of a clip's conditional row at a hook
/// point and a direction lies below, or above, a threshold. What is read is what recorders see. It acts on
/// places that run later in the same frame, and on its own place and earlier ones from the next frame; before
/// it has read anything it is shut. After CAST (arXiv 2409.05907) and SMITIN (arXiv 2404.02252).
struct Gate {
    std::string file;        ///< vector file that holds the direction
    std::string sha256;      ///< of that file; empty: not known yet
    std::string point_name;  ///< where the activation is read, and the direction's name in the file
    bool below = true;       ///< open while the cosine is below the threshold; false: above it
    double threshold = 0.0;

    HookPoint point = HookPoint::embed();  ///< of point_name
    at::Tensor direction;                  ///< [D] float32; undefined until take_direction

    /// @param condition  "decoder.12.resid_post<0.3" or ">0.3". @throws UsageError
    static Gate parse(const std::string& file, const std::string& condition);
    /// "FILE@decoder.12.resid_post<0.3". @throws UsageError
    static Gate parse(const std::string& text);
    std::string condition() const;

    /// Fills in point and direction. @throws UsageError if the model has no such point, or the file no
    /// direction there or a zero one
    void take_direction(const VectorFile& vectors, std::int64_t num_layers);
};

}  // namespace musicsteer
