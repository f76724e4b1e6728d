#pragma once

#include <cstdint>

namespace musicsteer {

/// Units that are computed together, G: as many floats as a vector of this processor has.
std::int64_t lstm_group();

/// The recurrence of one LSTM layer over some steps; P = groups x G is the padded width.
struct LstmSteps {
    std::int64_t rows = 0;
    std::int64_t count = 0;  ///< T
    std::int64_t width = 0;
    std::int64_t groups = 0;
    const float* gates = nullptr;  ///< [rows, T, groups, 4, G]: contribution of the inputs, biases included
    float* output = nullptr;       ///< [rows, T, P]
    float* h = nullptr;            ///< [rows, P], advanced in place
    float* c = nullptr;            ///< [rows, P], advanced in place
};

/// @param recurrent  [groups, width, 4, G] float32, or the bits of bfloat16, [groups, width, 2, G, 2]:
/// gates 0 and 1 interleaved, then 2 and 3
void run_lstm_steps(const LstmSteps& steps, const float* recurrent);
void run_lstm_steps(const LstmSteps& steps, const std::uint16_t* recurrent);

}  // namespace musicsteer
