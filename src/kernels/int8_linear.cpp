#include "kernels/int8_linear.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/shapes.hpp"
#include "kernels/float_vectors.hpp"
#include "kernels/processor.hpp"
#include "kernels/row_product.hpp"
#include "musicsteer/errors.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// This file is compiled without contraction of a x b + c, so that rounding is the same on every processor.

namespace musicsteer {
namespace {

constexpr float kLevels = 32767.0F;  // of a row of x, on either side of 0

struct Int8Product : RowProduct<std::int8_t, std::int16_t> {
    const float* row_scale = nullptr;  ///< [rows]
    const float* scale = nullptr;      ///< [outputs]

    void put(std::int64_t row, std::int64_t output, std::int64_t sum) const {
        y[row * outputs + output] = static_cast<float>(sum) * scale[output] * row_scale[row];
    }
};

/// What the kinds of processor share.
struct Int8Kind {
    using Weight = std::int8_t;
    using Input = std::int16_t;
    using Total = std::int64_t;
    /// A 32-bit lane adds two products, 2 x 32767 x 127 at most, for every 8 columns or more: 2^31 holds 258
    /// such pairs.
    static constexpr std::int64_t kColumns = 2048;
    static std::int32_t product(std::int8_t weight, std::int16_t x) { return std::int32_t{weight} * x; }
};

namespace anywhere {

#define MUSICSTEER_TARGET

using V = FloatVector<4>;

struct Kind : Int8Kind {
    static constexpr int kLane = 8;
    static constexpr int kTile = 2;
    typedef std::int16_t Numbers __attribute__((vector_size(kLane * sizeof(std::int16_t))));
    typedef std::int32_t Sums __attribute__((vector_size(kLane * sizeof(std::int32_t))));

    static Numbers load(const std::int16_t* from) {
        Numbers numbers;
        std::memcpy(&numbers, from, sizeof(numbers));
        return numbers;
    }
    static Numbers widen(const std::int8_t* from) {
        typedef std::int8_t Bytes __attribute__((vector_size(kLane)));
        Bytes bytes;
        std::memcpy(&bytes, from, sizeof(bytes));
        return __builtin_convertvector(bytes, Numbers);
    }
    static Sums add_products(Sums sums, Numbers a, Numbers b) {
        return sums + __builtin_convertvector(a, Sums) * __builtin_convertvector(b, Sums);
    }
    static std::int64_t total(Sums sums) {
        std::int64_t result = 0;
        for (int i = 0; i < kLane; ++i) result += sums[i];
        return result;
    }
};

#include "kernels/int8_quantize_kernel.hpp"
#include "kernels/row_products_kernel.hpp"
#undef MUSICSTEER_TARGET

}  // namespace anywhere

#if defined(__x86_64__)

namespace avx2 {

#define MUSICSTEER_TARGET __attribute__((target("avx2,fma,f16c")))

using V = FloatVector<8>;

struct Kind : Int8Kind {
    static constexpr int kLane = 16;
    static constexpr int kTile = 3;
    using Numbers = __m256i;
    using Sums = __m256i;

    MUSICSTEER_TARGET static Numbers load(const std::int16_t* from) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    }
    MUSICSTEER_TARGET static Numbers widen(const std::int8_t* from) {
        return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    MUSICSTEER_TARGET static Sums add_products(Sums sums, Numbers a, Numbers b) {
        return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
    }
    MUSICSTEER_TARGET static std::int64_t total(Sums sums) {
        const __m256i low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(sums));
        const __m256i high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(sums, 1));
        const __m256i four = _mm256_add_epi64(low, high);
        const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
        return _mm_extract_epi64(two, 0) + _mm_extract_epi64(two, 1);
    }
};

#include "kernels/int8_quantize_kernel.hpp"
#include "kernels/row_products_kernel.hpp"
#undef MUSICSTEER_TARGET

}  // namespace avx2

namespace avx512 {

#define MUSICSTEER_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))

using V = FloatVector<16>;

struct Kind : Int8Kind {
    static constexpr int kLane = 32;
    static constexpr int kTile = 4;
    using Numbers = __m512i;
    using Sums = __m512i;

    MUSICSTEER_TARGET static Numbers load(const std::int16_t* from) { return _mm512_loadu_si512(from); }
    MUSICSTEER_TARGET static Numbers widen(const std::int8_t* from) {
        return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    }
    MUSICSTEER_TARGET static Sums add_products(Sums sums, Numbers a, Numbers b) {
        return _mm512_dpwssd_epi32(sums, a, b);
    }
    MUSICSTEER_TARGET static std::int64_t total(Sums sums) {
        const __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(sums));
        const __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(sums, 1));
        return _mm512_reduce_add_epi64(_mm512_add_epi64(low, high));
    }
};

#include "kernels/int8_quantize_kernel.hpp"
#include "kernels/row_products_kernel.hpp"
#undef MUSICSTEER_TARGET

}  // namespace avx512

#endif

/// The functions for this processor.
struct Kernel {
    float (*quantize)(const float* x, std::int64_t count, std::int16_t* levels);
    void (*multiply)(const Int8Product& product, std::int64_t first, std::int64_t last);
};

Kernel choose_kernel() {
#if defined(__x86_64__)
    if (has_avx512_vnni()) return {avx512::quantize, avx512::multiply<avx512::Kind, Int8Product>};
    if (has_avx2()) return {avx2::quantize, avx2::multiply<avx2::Kind, Int8Product>};
#endif
    return {anywhere::quantize, anywhere::multiply<anywhere::Kind, Int8Product>};
}

}  // namespace

at::Tensor int8_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale) {
    check_shape(weight, {kAnySize, kAnySize}, "int8_linear weight");
    check_shape(scale, {weight.size(0)}, "int8_linear scale");
    if (!scale.is_contiguous()) throw ModelError("[int8_linear] expected a contiguous scale");
    const std::int64_t inputs = weight.size(1);
    if (weight.scalar_type() != at::kChar) throw ModelError("[int8_linear] expected an int8 weight");
    at::Tensor y = empty_product(x, weight, "int8_linear");
    const at::Tensor values = x.contiguous();
    const std::int64_t rows = x.numel() / inputs;

    static const Kernel kernel = choose_kernel();
    std::vector<std::int16_t> levels(static_cast<std::size_t>(rows * inputs));
    std::vector<float> row_scales(static_cast<std::size_t>(rows));
    const float* from = values.const_data_ptr<float>();
    at::parallel_for(0, rows, std::max<std::int64_t>(1, kWorthAThread / inputs),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t row = first; row < last; ++row) {
                             row_scales[static_cast<std::size_t>(row)] =
                                 kernel.quantize(from + row * inputs, inputs, levels.data() + row * inputs);
                         }
                     });
    Int8Product product;
    product.rows = rows;
    product.inputs = inputs;
    product.outputs = weight.size(0);
    product.x = levels.data();
    product.weight = weight.const_data_ptr<std::int8_t>();
    product.y = y.data_ptr<float>();
    product.row_scale = row_scales.data();
    product.scale = scale.const_data_ptr<float>();
    over_outputs(product,
                 [&](std::int64_t first, std::int64_t last) { kernel.multiply(product, first, last); });
    return y;
}

}  // namespace musicsteer
