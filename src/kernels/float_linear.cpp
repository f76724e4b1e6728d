#include "kernels/float_linear.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "kernels/processor.hpp"
#include "kernels/row_product.hpp"
#include "musicsteer/errors.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace musicsteer {
namespace {

using Bfloat16 = std::uint16_t;  // its bits: the upper half of a float

inline float widened(float value) {
    return value;
}
inline float widened(Bfloat16 bits) {
    const std::uint32_t wide = std::uint32_t{bits} << 16;
    float value;
    std::memcpy(&value, &wide, sizeof(value));
    return value;
}

template <class Element>
struct FloatProduct : RowProduct<Element, float> {
    void put(std::int64_t row, std::int64_t output, float sum) const {
        this->y[row * this->outputs + output] = sum;
    }
};

/// What the kinds of processor share.
template <class Element>
struct FloatKind {
    using Weight = Element;
    using Input = float;
    using Total = float;
    static constexpr std::int64_t kColumns = 1024;
    static float product(Element weight, float x) { return widened(weight) * x; }
};

namespace anywhere {

#define MUSICSTEER_TARGET

template <class Element>
struct Kind : FloatKind<Element> {
    static constexpr int kLane = 8;
    static constexpr int kTile = 2;
    typedef float Numbers __attribute__((vector_size(kLane * sizeof(float))));
    using Sums = Numbers;

    static Numbers load(const float* from) {
        Numbers numbers;
        std::memcpy(&numbers, from, sizeof(numbers));
        return numbers;
    }
    static Numbers widen(const Element* from) {
        Numbers numbers;
        for (int i = 0; i < kLane; ++i) numbers[i] = widened(from[i]);
        return numbers;
    }
    static Sums add_products(Sums sums, Numbers a, Numbers b) { return sums + a * b; }
    static float total(Sums sums) {
        float result = 0.0F;
        for (int i = 0; i < kLane; ++i) result += sums[i];
        return result;
    }
};

#include "kernels/row_products_kernel.hpp"
#undef MUSICSTEER_TARGET

}  // namespace anywhere

#if defined(__x86_64__)

namespace avx2 {

#define MUSICSTEER_TARGET __attribute__((target("avx2,fma,f16c")))

template <class Element>
struct Kind : FloatKind<Element> {
    static constexpr int kLane = 8;
    static constexpr int kTile = 3;
    using Numbers = __m256;
    using Sums = __m256;

    MUSICSTEER_TARGET static Numbers load(const float* from) { return _mm256_loadu_ps(from); }
    MUSICSTEER_TARGET static Numbers widen(const float* from) { return _mm256_loadu_ps(from); }
    MUSICSTEER_TARGET static Numbers widen(const Bfloat16* from) {
        const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    MUSICSTEER_TARGET static Sums add_products(Sums sums, Numbers a, Numbers b) {
        return _mm256_fmadd_ps(a, b, sums);
    }
    MUSICSTEER_TARGET static float total(Sums sums) {
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
};

#include "kernels/row_products_kernel.hpp"
#undef MUSICSTEER_TARGET

}  // namespace avx2

namespace avx512 {

#define MUSICSTEER_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma,f16c")))

template <class Element>
struct Kind : FloatKind<Element> {
    static constexpr int kLane = 16;
    static constexpr int kTile = 4;
    using Numbers = __m512;
    using Sums = __m512;

    MUSICSTEER_TARGET static Numbers load(const float* from) { return _mm512_loadu_ps(from); }
    MUSICSTEER_TARGET static Numbers widen(const float* from) { return _mm512_loadu_ps(from); }
    MUSICSTEER_TARGET static Numbers widen(const Bfloat16* from) {
        const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    MUSICSTEER_TARGET static Sums add_products(Sums sums, Numbers a, Numbers b) {
        return _mm512_fmadd_ps(a, b, sums);
    }
    MUSICSTEER_TARGET static float total(Sums sums) { return _mm512_reduce_add_ps(sums); }
};

#include "kernels/row_products_kernel.hpp"
#undef MUSICSTEER_TARGET

}  // namespace avx512

#endif

template <class Element>
using Multiply = void (*)(const FloatProduct<Element>&, std::int64_t first, std::int64_t last);

/// The function for this processor.
template <class Element>
Multiply<Element> choose() {
#if defined(__x86_64__)
    if (has_avx512()) return avx512::multiply<avx512::Kind<Element>, FloatProduct<Element>>;
    if (has_avx2()) return avx2::multiply<avx2::Kind<Element>, FloatProduct<Element>>;
#endif
    return anywhere::multiply<anywhere::Kind<Element>, FloatProduct<Element>>;
}

template <class Element>
void multiply(const at::Tensor& x, const at::Tensor& weight, at::Tensor& y) {
    static const Multiply<Element> kernel = choose<Element>();
    FloatProduct<Element> product;
    product.rows = x.numel() / weight.size(1);
    product.inputs = weight.size(1);
    product.outputs = weight.size(0);
    product.x = x.const_data_ptr<float>();
    product.weight = static_cast<const Element*>(weight.const_data_ptr());
    product.y = y.data_ptr<float>();
    over_outputs(product, [&](std::int64_t first, std::int64_t last) { kernel(product, first, last); });
}

}  // namespace

at::Tensor float_linear(const at::Tensor& x, const at::Tensor& weight) {
    if (weight.scalar_type() != at::kFloat && weight.scalar_type() != at::kBFloat16)
        throw ModelError("[float_linear] expected a weight in float32 or bfloat16");
    at::Tensor y = empty_product(x, weight, "float_linear");
    const at::Tensor values = x.contiguous();
    if (weight.scalar_type() == at::kBFloat16) {
        multiply<Bfloat16>(values, weight, y);
    } else {
        multiply<float>(values, weight, y);
    }
    return y;
}

}  // namespace musicsteer
