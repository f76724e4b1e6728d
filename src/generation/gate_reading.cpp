#include "generation/gate_reading.hpp"

#include <ATen/ATen.h>

#include <limits>

namespace musicsteer {

GateReading::GateReading(const Gate& gate, std::int64_t row, c10::Device device)
    : direction_((gate.direction / gate.direction.norm()).to(device)),
      below_(gate.below),
      threshold_(gate.threshold),
      row_(row) {}

void GateReading::read(const at::Tensor& activation, const HookContext& context) {
    const at::Tensor h = activation.select(0, row_).flatten(1);  // [T, D]
    const at::Tensor length = h.norm(2, {-1}).clamp_min(std::numeric_limits<float>::min());
    const at::Tensor cosines = ((h * direction_).sum(-1) / length).to(at::kCPU);
    const auto values = cosines.accessor<float, 1>();
    open_.resize(std::max(open_.size(), static_cast<std::size_t>(context.frame() + context.columns)));
    for (std::int64_t t = 0; t < context.columns; ++t) {
        const double cosine = values[t];
        open_[static_cast<std::size_t>(context.frame() + t)] =
            below_ ? cosine < threshold_ : cosine > threshold_;
    }
}

bool GateReading::is_open(std::int64_t frame) const {
    return frame >= 0 && static_cast<std::size_t>(frame) < open_.size() &&
           open_[static_cast<std::size_t>(frame)];
}

}  // namespace musicsteer
