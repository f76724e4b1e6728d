#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace musicsteer {

/// One LSTM layer on the CPU, run by the calling thread alone: no barrier at any step, and a row's result
/// depends on nothing but its own input.
///
/// All inputs are multiplied by their weights in one product; each step then reads the recurrent weights once
/// for up to kLstmRows rows. Units are grouped by G (lstm_steps.hpp), with the four gates of a group side by
/// side, so that a group's gates, cell and output are computed in registers.
class LstmLayer {
  public:
    /// @param weight_ih, weight_hh  [4 width, width], gates in torch's order: input, forget, cell, output
    /// @param bias_ih, bias_hh  [4 width]; all float32 or all bfloat16
    LstmLayer(const at::Tensor& weight_ih, const at::Tensor& weight_hh, const at::Tensor& bias_ih,
              const at::Tensor& bias_hh);

    /// The state before the first frame, to be passed from call to call: [2, rows, padded width] float32.
    at::Tensor initial_state(std::int64_t rows) const;
    /// @param x  [rows, T, width], rows <= kLstmRows
    /// @param state  advanced in place
    /// @return [rows, T, width] float32
    at::Tensor run(const at::Tensor& x, at::Tensor& state) const;

  private:
    std::int64_t width_;
    std::int64_t groups_;
    std::int64_t padded_;   ///< groups x G: the last group is filled up with zeros
    at::Tensor weight_ih_;  ///< [groups x 4 x G, width]
    at::Tensor bias_;       ///< [groups x 4 x G], of the type of weight_ih
    at::Tensor recurrent_;  ///< in the layout of run_lstm_steps
};

/// More rows would not fit AVX-512's registers.
constexpr std::int64_t kLstmRows = 4;

}  // namespace musicsteer
