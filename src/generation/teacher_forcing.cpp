#include "generation/teacher_forcing.hpp"

#include <ATen/ATen.h>

namespace musicsteer {

CodeTargets code_targets(const DelayPattern& pattern, const at::Tensor& codes, std::int64_t first,
                         std::int64_t columns, std::int64_t first_frame) {
    const std::int64_t codebooks = codes.size(1);
    const at::Tensor valid = at::zeros({codebooks, columns}, at::kDouble);
    const at::Tensor wanted = at::zeros({codes.size(0), codebooks, columns}, at::kLong);
    for (std::int64_t k = 0; k < codebooks; ++k) {
        for (std::int64_t t = 0; t < columns; ++t) {
            const std::int64_t frame = pattern.frame_at(first + t, k);
            if (frame < first_frame) continue;
            valid[k][t] = 1.0;
            wanted.select(1, k).select(1, t).copy_(codes.select(1, k).select(1, frame));
        }
    }
    return {valid, wanted};
}

at::Tensor log_likelihood(const at::Tensor& log_p, const CodeTargets& targets) {
    const at::Tensor wanted = targets.wanted.to(log_p.device()).unsqueeze(-1);
    const at::Tensor of_codes = log_p.gather(-1, wanted).squeeze(-1);  // [R, K, T]
    return (of_codes.to(at::kCPU, at::kDouble) * targets.valid).sum({1, 2});
}

}  // namespace musicsteer
