#include "kernels/lstm_steps.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/float_vectors.hpp"
#include "kernels/processor.hpp"

namespace musicsteer {
namespace {

/// The weights of a group's four gates.
MUSICSTEER_INLINE void load_gates(const float* from, Floats (&weights)[4]) {
    for (int gate = 0; gate < 4; ++gate) weights[gate] = load(from + gate * kLstmGroup);
}

/// A bfloat16 is the upper half of a float. Two gates share a vector; a shift and a mask separate them.
MUSICSTEER_INLINE void load_gates(const std::uint16_t* from, Floats (&weights)[4]) {
    for (int pair = 0; pair < 2; ++pair) {
        Ints bits;
        std::memcpy(&bits, from + pair * 2 * kLstmGroup, sizeof(bits));
        weights[2 * pair] = as_floats(bits << 16);
        weights[2 * pair + 1] = as_floats(bits & static_cast<std::int32_t>(0xffff0000));
    }
}

MUSICSTEER_INLINE Floats sigmoid(Floats x) {
    return 1.0F / (1.0F + exponential(-x));
}

MUSICSTEER_INLINE Floats hyperbolic_tangent(Floats x) {
    return 1.0F - 2.0F / (exponential(2.0F * x) + 1.0F);
}

/// One step of `Rows` rows. @param h  of the step before, [Rows, P]
template <int Rows, typename Weight>
MUSICSTEER_INLINE void step(const LstmSteps& steps, const Weight* recurrent, std::int64_t t, const float* h) {
    const std::int64_t padded = steps.groups * kLstmGroup;
    for (std::int64_t group = 0; group < steps.groups; ++group) {
        Floats gates[Rows][4];
        for (int row = 0; row < Rows; ++row) {
            const float* given =
                steps.gates + ((row * steps.count + t) * steps.groups + group) * 4 * kLstmGroup;
            for (int gate = 0; gate < 4; ++gate) gates[row][gate] = load(given + gate * kLstmGroup);
        }
        const Weight* weights = recurrent + group * steps.width * 4 * kLstmGroup;
        for (std::int64_t i = 0; i < steps.width; ++i, weights += 4 * kLstmGroup) {
            Floats weight[4];
            load_gates(weights, weight);
            for (int row = 0; row < Rows; ++row) {
                const float value = h[row * padded + i];
                for (int gate = 0; gate < 4; ++gate) gates[row][gate] += value * weight[gate];
            }
        }
        for (int row = 0; row < Rows; ++row) {
            float* cell = steps.c + row * padded + group * kLstmGroup;
            const Floats c = sigmoid(gates[row][1]) * load(cell) +
                             sigmoid(gates[row][0]) * hyperbolic_tangent(gates[row][2]);
            store(cell, c);
            store(steps.output + (row * steps.count + t) * padded + group * kLstmGroup,
                  sigmoid(gates[row][3]) * hyperbolic_tangent(c));
        }
    }
}

template <int Rows, typename Weight>
MUSICSTEER_INLINE void run_rows(const LstmSteps& steps, const Weight* recurrent) {
    const std::int64_t padded = steps.groups * kLstmGroup;
    for (std::int64_t t = 0; t < steps.count; ++t) {
        step<Rows>(steps, recurrent, t, steps.h);
        for (int row = 0; row < Rows; ++row) {
            const float* out = steps.output + (row * steps.count + t) * padded;
            std::copy(out, out + padded, steps.h + row * padded);
        }
    }
}

template <typename Weight>
MUSICSTEER_INLINE void run(const LstmSteps& steps, const Weight* recurrent) {
    switch (steps.rows) {
        case 1:
            return run_rows<1>(steps, recurrent);
        case 2:
            return run_rows<2>(steps, recurrent);
        case 3:
            return run_rows<3>(steps, recurrent);
        default:
            return run_rows<4>(steps, recurrent);
    }
}

#if defined(__x86_64__)
template <typename Weight>
__attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma"))) void run_avx512(const LstmSteps& steps,
                                                                              const Weight* recurrent) {
    run(steps, recurrent);
}

template <typename Weight>
__attribute__((target("avx2,fma"))) void run_avx2(const LstmSteps& steps, const Weight* recurrent) {
    run(steps, recurrent);
}
#endif

template <typename Weight>
void run_anywhere(const LstmSteps& steps, const Weight* recurrent) {
    run(steps, recurrent);
}

template <typename Weight>
void dispatch(const LstmSteps& steps, const Weight* recurrent) {
#if defined(__x86_64__)
    if (has_avx512()) return run_avx512(steps, recurrent);
    if (has_avx2()) return run_avx2(steps, recurrent);
#endif
    run_anywhere(steps, recurrent);
}

}  // namespace

void run_lstm_steps(const LstmSteps& steps, const float* recurrent) {
    dispatch(steps, recurrent);
}

void run_lstm_steps(const LstmSteps& steps, const std::uint16_t* recurrent) {
    dispatch(steps, recurrent);
}

}  // namespace musicsteer
