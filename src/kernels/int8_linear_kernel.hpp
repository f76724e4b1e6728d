// No include guard: int8_linear.cpp includes this once for each kind of processor, in a namespace that has
// Sums, Numbers, kLane, kTile, widen, load, add_products and total, with MUSICSTEER_TARGET naming the
// instructions.

/// Products of `Outputs` rows of the weight with `Rows` rows of x.
template <int Outputs, int Rows>
MUSICSTEER_TARGET inline void multiply_tile(const Int8Product& p, std::int64_t output, std::int64_t row) {
    const std::int8_t* weight = p.weight + output * p.inputs;
    const std::int16_t* x = p.x + row * p.inputs;
    const std::int64_t next = Outputs * p.inputs;  // where the tile after this one starts
    std::int64_t totals[Outputs][Rows] = {};
    for (std::int64_t first = 0; first < p.inputs; first += kColumns) {
        const std::int64_t last = std::min(first + kColumns, p.inputs);
        Sums sums[Outputs][Rows] = {};
        std::int64_t k = first;
        for (; k + kLine <= last; k += kLine) {
#pragma GCC unroll 8
            for (int o = 0; o < Outputs; ++o) __builtin_prefetch(weight + o * p.inputs + k + next);
#pragma GCC unroll 8
            for (int part = 0; part < kLine; part += kLane) {
                Numbers inputs[Rows];
#pragma GCC unroll 8
                for (int r = 0; r < Rows; ++r) inputs[r] = load(x + r * p.inputs + k + part);
#pragma GCC unroll 8
                for (int o = 0; o < Outputs; ++o) {
                    const Numbers weights = widen(weight + o * p.inputs + k + part);
#pragma GCC unroll 8
                    for (int r = 0; r < Rows; ++r) sums[o][r] = add_products(sums[o][r], weights, inputs[r]);
                }
            }
        }
        for (int o = 0; o < Outputs; ++o) {
            for (int r = 0; r < Rows; ++r) {
                totals[o][r] += total(sums[o][r]);
                for (std::int64_t rest = k; rest < last; ++rest)
                    totals[o][r] += std::int32_t{weight[o * p.inputs + rest]} * x[r * p.inputs + rest];
            }
        }
    }
    for (int o = 0; o < Outputs; ++o) {
        for (int r = 0; r < Rows; ++r) p.put(row + r, output + o, totals[o][r]);
    }
}

/// All rows of x with `Outputs` rows of the weight, which stay in the cache meanwhile.
template <int Outputs>
MUSICSTEER_TARGET inline void multiply_rows(const Int8Product& p, std::int64_t output) {
    std::int64_t row = 0;
    for (; row + 4 <= p.rows; row += 4) multiply_tile<Outputs, 4>(p, output, row);
    switch (p.rows - row) {
        case 3:
            return multiply_tile<Outputs, 3>(p, output, row);
        case 2:
            return multiply_tile<Outputs, 2>(p, output, row);
        case 1:
            return multiply_tile<Outputs, 1>(p, output, row);
        default:
            return;
    }
}

MUSICSTEER_TARGET inline void multiply(const Int8Product& p, std::int64_t first, std::int64_t last) {
    for (; first + kTile <= last; first += kTile) multiply_rows<kTile>(p, first);
    for (; first < last; ++first) multiply_rows<1>(p, first);
}

/// A row of x, finite or not, as whole numbers. @returns what one of them is worth; NaN if x is not finite
MUSICSTEER_TARGET inline float quantize(const float* x, std::int64_t count, std::int16_t* levels) {
    Floats largest{};
    Ints bad{};
    float rest_largest = 0.0F;
    bool rest_bad = false;
    std::int64_t k = 0;
    for (; k + kFloatsInVector <= count; k += kFloatsInVector) {
        const Floats values = musicsteer::load(x + k);
        const Floats sizes = values < 0.0F ? -values : values;
        largest = sizes > largest ? sizes : largest;
        bad |= values - values != 0.0F;
    }
    for (std::int64_t i = k; i < count; ++i) {
        rest_largest = std::max(rest_largest, std::abs(x[i]));
        rest_bad = rest_bad || !std::isfinite(x[i]);
    }
    for (int i = 0; i < kFloatsInVector; ++i) {
        rest_largest = std::max(rest_largest, largest[i]);
        rest_bad = rest_bad || bad[i] != 0;
    }
    if (rest_bad) {
        std::fill(levels, levels + count, std::int16_t{0});
        return std::numeric_limits<float>::quiet_NaN();
    }
    rest_largest = std::max(rest_largest, 1e-30F);
    const float per_unit = kLevels / rest_largest;
    constexpr float kRounds =
        12582912.0F;  // 1.5 x 2^23: what is added to it loses its fraction, ties to even
    for (k = 0; k + kFloatsInVector <= count; k += kFloatsInVector) {
        const Floats values = (musicsteer::load(x + k) * per_unit + kRounds) - kRounds;
        const Int16s whole = __builtin_convertvector(__builtin_convertvector(values, Ints), Int16s);
        std::memcpy(levels + k, &whole, sizeof(whole));
    }
    for (; k < count; ++k) levels[k] = static_cast<std::int16_t>((x[k] * per_unit + kRounds) - kRounds);
    return rest_largest / kLevels;
}
