#include "generation/delay_pattern.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/shapes.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {

DelayPattern::DelayPattern(std::span<const std::int64_t> delays, std::int64_t start_token,
                           std::int64_t num_frames)
    : delays_(delays.begin(), delays.end()),
      start_token_(start_token),
      num_frames_(num_frames),
      max_delay_(*std::max_element(delays.begin(), delays.end())) {}

std::int64_t DelayPattern::frame_at(std::int64_t position, std::int64_t codebook) const {
    const std::int64_t frame = position - delays_[static_cast<std::size_t>(codebook)];
    return frame >= 0 && frame < num_frames_ ? frame : -1;
}

at::Tensor DelayPattern::delay(const at::Tensor& codes) const {
    const auto num_codebooks = static_cast<std::int64_t>(delays_.size());
    check_shape(codes, {kAnySize, num_codebooks, kAnySize}, "delay_pattern codes");
    const std::int64_t given = codes.size(2);
    if (given > num_frames_) {
        throw UsageError(std::to_string(given) + " frames of codes are given, but the clip has " +
                         std::to_string(num_frames_));
    }
    at::Tensor sequence =
        at::full({codes.size(0), num_codebooks, num_positions() + 1}, start_token_, codes.options());
    for (std::int64_t k = 0; k < num_codebooks; ++k) {
        const std::int64_t first = 1 + delays_[static_cast<std::size_t>(k)];
        sequence.select(1, k).narrow(1, first, given).copy_(codes.select(1, k));
    }
    return sequence;
}

at::Tensor DelayPattern::undelay(const at::Tensor& sequence) const {
    check_shape(sequence, {kAnySize, static_cast<std::int64_t>(delays_.size()), num_positions() + 1},
                "delay_pattern sequence");
    std::vector<at::Tensor> books;
    for (std::size_t k = 0; k < delays_.size(); ++k) {
        books.push_back(
            sequence.select(1, static_cast<std::int64_t>(k)).narrow(1, 1 + delays_[k], num_frames_));
    }
    return at::stack(books, 1);
}

at::Tensor DelayPattern::frame(const at::Tensor& sequence, std::int64_t frame) const {
    std::vector<at::Tensor> books;
    for (std::size_t k = 0; k < delays_.size(); ++k)
        books.push_back(sequence.select(1, static_cast<std::int64_t>(k)).select(1, 1 + delays_[k] + frame));
    return at::stack(books, 1);
}

}  // namespace musicsteer
