#include "generation/sampler.hpp"

#include <ATen/ATen.h>
#include <ATen/core/PhiloxRNGEngine.h>

#include <cmath>
#include <limits>

#include "base/shapes.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr double kNegativeInfinity = -std::numeric_limits<double>::infinity();
/// More codebooks than any MusicGen has, so that frames and codebooks never share a Philox subsequence.
constexpr std::uint64_t kMaxCodebooks = 256;
/// Far below this, logits / temperature overflow float32.
constexpr double kMinTemperature = 1e-6;

at::Tensor keep_top_k(const at::Tensor& logits, std::int64_t k) {
    const at::Tensor smallest = std::get<0>(logits.topk(k, -1)).narrow(-1, k - 1, 1);
    return logits.masked_fill(logits < smallest, kNegativeInfinity);
}

/// Keeps the most likely tokens until their probability reaches `p`; the first is always kept.
at::Tensor keep_top_p(const at::Tensor& logits, double p) {
    const auto [sorted, order] = logits.sort(/*stable=*/true, -1, /*descending=*/true);
    const at::Tensor probabilities = sorted.softmax(-1);
    const at::Tensor before = probabilities.cumsum(-1) - probabilities;
    at::Tensor drop = before >= p;
    drop.narrow(-1, 0, 1).fill_(false);  // a tiny p is 0 in float32
    return logits.masked_fill(at::zeros_like(drop).scatter(-1, order, drop), kNegativeInfinity);
}

}  // namespace

void SamplingOptions::validate() const {
    if (!std::isfinite(guidance_scale)) throw UsageError("guidance must be a finite number (1 turns it off)");
    if (top_k < 0) throw UsageError("top-k must be 0 (off) or more, not " + std::to_string(top_k));
    if (!(top_p >= 0.0 && top_p <= 1.0)) throw UsageError("top-p must be in [0, 1] (0 turns it off)");
    if (!(temperature >= kMinTemperature) || !std::isfinite(temperature)) {
        throw UsageError(
            "temperature must be a finite number of at least 1e-6 (for greedy decoding use top-k 1)");
    }
}

at::Tensor apply_guidance(const at::Tensor& conditional, const at::Tensor& null, double scale) {
    return null + (conditional - null) * scale;
}

at::Tensor filter_logits(const at::Tensor& logits, const SamplingOptions& options) {
    at::Tensor filtered = options.temperature == 1.0 ? logits : logits / options.temperature;
    if (options.top_k > 0 && options.top_k < logits.size(-1)) filtered = keep_top_k(filtered, options.top_k);
    if (options.top_p > 0.0 && options.top_p < 1.0) filtered = keep_top_p(filtered, options.top_p);
    return filtered;
}

void gumbel_noise(std::uint64_t seed, std::int64_t frame, std::int64_t codebook, std::span<float> out) {
    at::philox_engine engine(
        seed, static_cast<std::uint64_t>(frame) * kMaxCodebooks + static_cast<std::uint64_t>(codebook));
    for (float& value : out) {
        const double uniform = (static_cast<double>(engine()) + 0.5) * 0x1p-32;  // never 0 or 1
        value = static_cast<float>(-std::log(-std::log(uniform)));
    }
}

at::Tensor draw_tokens(const at::Tensor& logits, std::span<const DrawKey> keys,
                       const SamplingOptions& options) {
    check_shape(logits, {static_cast<std::int64_t>(keys.size()), kAnySize}, "sampler logits");
    const at::Tensor on_cpu = logits.to(at::kCPU, at::kFloat);
    if (options.top_k == 1) return on_cpu.argmax(-1);
    at::Tensor noise = at::empty_like(on_cpu, at::MemoryFormat::Contiguous);
    const auto width = static_cast<std::size_t>(on_cpu.size(1));
    for (std::size_t row = 0; row < keys.size(); ++row) {
        gumbel_noise(keys[row].seed, keys[row].frame, keys[row].codebook,
                     std::span<float>(noise.data_ptr<float>() + row * width, width));
    }
    return (filter_logits(on_cpu, options) + noise).argmax(-1);
}

}  // namespace musicsteer
