// No include guard: int8_linear.cpp includes this once for each kind of processor, in a namespace where
// MUSICSTEER_TARGET names the instructions and V is a FloatVector.

/// Quantises a row of x. @returns the value of one step; NaN if x is not finite
MUSICSTEER_TARGET inline float quantize(const float* x, std::int64_t count, std::int16_t* levels) {
    V::Floats largest{};
    V::Ints bad{};
    float rest_largest = 0.0F;
    bool rest_bad = false;
    std::int64_t k = 0;
    for (; k + V::kLanes <= count; k += V::kLanes) {
        const V::Floats values = V::load(x + k);
        const V::Floats sizes = values < 0.0F ? -values : values;
        largest = sizes > largest ? sizes : largest;
        bad |= values - values != 0.0F;
    }
    for (std::int64_t i = k; i < count; ++i) {
        rest_largest = std::max(rest_largest, std::abs(x[i]));
        rest_bad = rest_bad || !std::isfinite(x[i]);
    }
    for (int i = 0; i < V::kLanes; ++i) {
        rest_largest = std::max(rest_largest, largest[i]);
        rest_bad = rest_bad || bad[i] != 0;
    }
    if (rest_bad) {
        std::fill(levels, levels + count, std::int16_t{0});
        return std::numeric_limits<float>::quiet_NaN();
    }
    rest_largest = std::max(rest_largest, 1e-30F);
    const float per_unit = kLevels / rest_largest;
    constexpr float kRounds = 12582912.0F;  // 1.5 x 2^23: a sum with it has no fraction, ties to even
    for (k = 0; k + V::kLanes <= count; k += V::kLanes) {
        const V::Floats values = (V::load(x + k) * per_unit + kRounds) - kRounds;
        const V::Int16s whole = __builtin_convertvector(__builtin_convertvector(values, V::Ints), V::Int16s);
        std::memcpy(levels + k, &whole, sizeof(whole));
    }
    for (; k < count; ++k) levels[k] = static_cast<std::int16_t>((x[k] * per_unit + kRounds) - kRounds);
    return rest_largest / kLevels;
}
