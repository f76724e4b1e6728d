#include "kernels/lstm_steps.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/float_vectors.hpp"
#include "kernels/processor.hpp"

namespace musicsteer {
namespace {

/// The weights of a group's four gates.
template <class V>
MUSICSTEER_INLINE void load_gates(const float* from, typename V::Floats (&weights)[4]) {
    for (int gate = 0; gate < 4; ++gate) weights[gate] = V::load(from + gate * V::kLanes);
}

/// A bfloat16 is the upper half of a float. Two gates share a vector; a shift and a mask separate them.
template <class V>
MUSICSTEER_INLINE void load_gates(const std::uint16_t* from, typename V::Floats (&weights)[4]) {
    for (int pair = 0; pair < 2; ++pair) {
        typename V::Ints bits;
        std::memcpy(&bits, from + pair * 2 * V::kLanes, sizeof(bits));
        weights[2 * pair] = V::as_floats(bits << 16);
        weights[2 * pair + 1] = V::as_floats(bits & static_cast<std::int32_t>(0xffff0000));
    }
}

template <class V>
MUSICSTEER_INLINE typename V::Floats sigmoid(typename V::Floats x) {
    return 1.0F / (1.0F + V::exponential(-x));
}

template <class V>
MUSICSTEER_INLINE typename V::Floats hyperbolic_tangent(typename V::Floats x) {
    return 1.0F - 2.0F / (V::exponential(2.0F * x) + 1.0F);
}

/// Step t of one group, in `Rows` rows from `first` on, whose sums fit the registers.
/// @param weights  of the group, [width, 4, G]
template <class V, int Rows, typename Weight>
MUSICSTEER_INLINE void step_rows(const LstmSteps& steps, const Weight* weights, std::int64_t t,
                                 std::int64_t group, std::int64_t first) {
    using Floats = typename V::Floats;
    const std::int64_t padded = steps.groups * V::kLanes;
    const float* h = steps.h + first * padded;
    Floats gates[Rows][4];
    for (int row = 0; row < Rows; ++row) {
        const float* given =
            steps.gates + (((first + row) * steps.count + t) * steps.groups + group) * 4 * V::kLanes;
        for (int gate = 0; gate < 4; ++gate) gates[row][gate] = V::load(given + gate * V::kLanes);
    }
    for (std::int64_t i = 0; i < steps.width; ++i, weights += 4 * V::kLanes) {
        Floats weight[4];
        load_gates<V>(weights, weight);
        for (int row = 0; row < Rows; ++row) {
            const float value = h[row * padded + i];
            for (int gate = 0; gate < 4; ++gate) gates[row][gate] += value * weight[gate];
        }
    }
    for (int row = 0; row < Rows; ++row) {
        float* cell = steps.c + (first + row) * padded + group * V::kLanes;
        const Floats c = sigmoid<V>(gates[row][1]) * V::load(cell) +
                         sigmoid<V>(gates[row][0]) * hyperbolic_tangent<V>(gates[row][2]);
        V::store(cell, c);
        V::store(steps.output + ((first + row) * steps.count + t) * padded + group * V::kLanes,
                 sigmoid<V>(gates[row][3]) * hyperbolic_tangent<V>(c));
    }
}

/// Step t of one group in all rows.
template <class V, typename Weight>
MUSICSTEER_INLINE void step(const LstmSteps& steps, const Weight* weights, std::int64_t t,
                            std::int64_t group) {
    constexpr std::int64_t kRowsAtOnce = V::kLanes == 16 ? 4 : 2;  // AVX-512 has 32 registers, others 16
    std::int64_t row = 0;
    for (; row + kRowsAtOnce <= steps.rows; row += kRowsAtOnce)
        step_rows<V, kRowsAtOnce>(steps, weights, t, group, row);
    switch (steps.rows - row) {
        case 3:
            return step_rows<V, 3>(steps, weights, t, group, row);
        case 2:
            return step_rows<V, 2>(steps, weights, t, group, row);
        case 1:
            return step_rows<V, 1>(steps, weights, t, group, row);
        default:
            return;
    }
}

template <class V, typename Weight>
MUSICSTEER_INLINE void run(const LstmSteps& steps, const Weight* recurrent) {
    const std::int64_t padded = steps.groups * V::kLanes;
    for (std::int64_t t = 0; t < steps.count; ++t) {
        for (std::int64_t group = 0; group < steps.groups; ++group)
            step<V>(steps, recurrent + group * steps.width * 4 * V::kLanes, t, group);
        for (std::int64_t row = 0; row < steps.rows; ++row) {
            const float* out = steps.output + (row * steps.count + t) * padded;
            std::copy(out, out + padded, steps.h + row * padded);
        }
    }
}

#if defined(__x86_64__)
template <typename Weight>
__attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma"))) void run_avx512(const LstmSteps& steps,
                                                                              const Weight* recurrent) {
    run<FloatVector<16>>(steps, recurrent);
}

template <typename Weight>
__attribute__((target("avx2,fma"))) void run_avx2(const LstmSteps& steps, const Weight* recurrent) {
    run<FloatVector<8>>(steps, recurrent);
}
#endif

template <typename Weight>
void dispatch(const LstmSteps& steps, const Weight* recurrent) {
    switch (lstm_group()) {
#if defined(__x86_64__)
        case 16:
            return run_avx512(steps, recurrent);
        case 8:
            return run_avx2(steps, recurrent);
#endif
        default:
            return run<FloatVector<4>>(steps, recurrent);
    }
}

}  // namespace

std::int64_t lstm_group() {
#if defined(__x86_64__)
    if (has_avx512()) return 16;
    if (has_avx2()) return 8;
#endif
    return 4;
}

void run_lstm_steps(const LstmSteps& steps, const float* recurrent) {
    dispatch(steps, recurrent);
}

void run_lstm_steps(const LstmSteps& steps, const std::uint16_t* recurrent) {
    dispatch(steps, recurrent);
}

}  // namespace musicsteer
