#pragma once

#include <optional>
#include <string>

#include "clip_outputs.hpp"
#include "model_options.hpp"
#include "steer_options.hpp"

namespace musicsteer::cli {

/// The options of `musicsteer generate`.
struct GenerateFlags {
    ModelOptions model;
    ClipFlags clips;
    SamplingFlags sampling;
    SteerFlags steering;
    FinishFlags finish;
    std::string continued;
    std::string continued_from;
    std::optional<double> stride_s;
    std::string melody;
    std::string out;
    std::string format = "pcm16";
    std::string save_codes;
    bool score = false;
    bool force = false;
    bool json = false;
    bool keep_partial = false;

    bool to_stdout() const { return out == "-"; }
};

void add_generate_options(CLI::App& command, GenerateFlags& options);

}  // namespace musicsteer::cli
