#include "kernels/step_attention.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/shapes.hpp"
#include "kernels/float_vectors.hpp"
#include "kernels/processor.hpp"
#include "musicsteer/errors.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace musicsteer {
namespace {

template <typename Number>
struct Head {
    const float* query;
    const Number* keys;    ///< [columns, size]
    const Number* values;  ///< [columns, size]
    const float* bias;     ///< [columns], or null
    float* output;
};

/// All rows and heads of a call; strides count numbers.
template <typename Number>
struct Heads {
    std::int64_t count, size, columns;  ///< heads in a row, numbers in each, keys that each attends to
    const float* query;
    std::int64_t query_strides[2];  ///< of rows and heads
    const Number* keys;
    std::int64_t key_strides[2];
    const Number* values;
    std::int64_t value_strides[2];
    const float* bias;
    std::int64_t bias_stride;
    float* output;  ///< [rows, count, size]

    Head<Number> at(std::int64_t cell) const {
        const std::int64_t row = cell / count, head = cell % count;
        return {query + row * query_strides[0] + head * query_strides[1],
                keys + row * key_strides[0] + head * key_strides[1],
                values + row * value_strides[0] + head * value_strides[1],
                bias ? bias + row * bias_stride : nullptr, output + cell * size};
    }
};

/// Up to the end of the last vector, of any processor.
std::vector<float> room_for_scores(std::int64_t columns) {
    return std::vector<float>(static_cast<std::size_t>(columns + FloatVector<16>::kLanes));
}

MUSICSTEER_INLINE void scale_query(const float* query, std::int64_t size, float* scaled) {
    const float scale = 1.0F / std::sqrt(static_cast<float>(size));
    for (std::int64_t i = 0; i < size; ++i) scaled[i] = query[i] * scale;
}

/// A vector's two halves added.
template <class V>
MUSICSTEER_INLINE typename FloatVector<V::kLanes / 2>::Floats folded(const typename V::Floats& whole) {
    typename FloatVector<V::kLanes / 2>::Floats parts[2];
    std::memcpy(parts, &whole, sizeof(whole));
    return parts[0] + parts[1];
}

template <class V>
MUSICSTEER_INLINE float sum_of(const typename V::Floats& values) {
    if constexpr (V::kLanes > 4) return sum_of<FloatVector<V::kLanes / 2>>(folded<V>(values));
    return (values[0] + values[2]) + (values[1] + values[3]);
}

/// scores -> exp(scores + bias - their maximum), in place, up to the next full vector. @returns the sum
template <class V>
MUSICSTEER_INLINE float exponentiate(float* scores, std::int64_t count, const float* bias) {
    if (bias) {
        for (std::int64_t j = 0; j < count; ++j) scores[j] += bias[j];
    }
    const float largest = *std::max_element(scores, scores + count);
    const std::int64_t padded = (count + V::kLanes - 1) / V::kLanes * V::kLanes;
    std::fill(scores + count, scores + padded, -std::numeric_limits<float>::infinity());
    typename V::Floats sum{};
    for (std::int64_t j = 0; j < padded; j += V::kLanes) {
        const typename V::Floats part = V::exponential(V::load(scores + j) - largest);
        V::store(scores + j, part);
        sum += part;
    }
    return sum_of<V>(sum);
}

/// For heads of any size, on any processor.
template <typename Number>
void attend_anywhere(const Heads<Number>& heads, std::int64_t first, std::int64_t last) {
    std::vector<float> scores = room_for_scores(heads.columns), query(static_cast<std::size_t>(heads.size));
    for (std::int64_t cell = first; cell < last; ++cell) {
        const Head<Number> head = heads.at(cell);
        scale_query(head.query, heads.size, query.data());
        for (std::int64_t j = 0; j < heads.columns; ++j) {
            double sum = 0;  // in double: a sequential float32 sum would lose more than a vector's lanes do
            for (std::int64_t i = 0; i < heads.size; ++i)
                sum += query[static_cast<std::size_t>(i)] * static_cast<float>(head.keys[j * heads.size + i]);
            scores[static_cast<std::size_t>(j)] = static_cast<float>(sum);
        }
        const float total = exponentiate<FloatVector<4>>(scores.data(), heads.columns, head.bias);
        std::fill(head.output, head.output + heads.size, 0.0F);
        for (std::int64_t j = 0; j < heads.columns; ++j) {
            const float weight = scores[static_cast<std::size_t>(j)] / total;
            for (std::int64_t i = 0; i < heads.size; ++i)
                head.output[i] += weight * static_cast<float>(head.values[j * heads.size + i]);
        }
    }
}

#if defined(__x86_64__)

namespace avx512 {

#define MUSICSTEER_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma,f16c")))

using V = FloatVector<16>;

MUSICSTEER_TARGET inline V::Floats load_numbers(const at::Half* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

MUSICSTEER_TARGET inline V::Floats load_numbers(const float* from) {
    return V::load(from);
}

#include "kernels/step_attention_kernel.hpp"
#undef MUSICSTEER_TARGET

}  // namespace avx512

namespace avx2 {

#define MUSICSTEER_TARGET __attribute__((target("avx2,fma,f16c")))

using V = FloatVector<8>;

MUSICSTEER_TARGET inline V::Floats load_numbers(const at::Half* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

MUSICSTEER_TARGET inline V::Floats load_numbers(const float* from) {
    return V::load(from);
}

#include "kernels/step_attention_kernel.hpp"
#undef MUSICSTEER_TARGET

}  // namespace avx2

#endif

template <typename Number>
void attend_heads(const Heads<Number>& heads, std::int64_t first, std::int64_t last) {
#if defined(__x86_64__)
    if (has_avx512() && avx512::attend_by_size(heads, first, last)) return;
    if (has_avx2() && avx2::attend_by_size(heads, first, last)) return;
#endif
    attend_anywhere(heads, first, last);
}

template <typename Number>
void attend_rows(const at::Tensor& query, const at::Tensor& keys, const at::Tensor& values,
                 const at::Tensor& bias, at::Tensor& output) {
    Heads<Number> heads{};
    heads.count = query.size(2);
    heads.size = query.size(3);
    heads.columns = keys.size(2);
    heads.query = query.const_data_ptr<float>();
    heads.keys = keys.const_data_ptr<Number>();
    heads.values = values.const_data_ptr<Number>();
    for (const int i : {0, 1}) {
        heads.query_strides[i] = query.stride(i == 0 ? 0 : 2);
        heads.key_strides[i] = keys.stride(i);
        heads.value_strides[i] = values.stride(i);
    }
    if (bias.defined()) {
        heads.bias = bias.const_data_ptr<float>();
        heads.bias_stride = bias.stride(0);
    }
    heads.output = output.data_ptr<float>();
    // Waking the other threads takes as long as some ten thousand products.
    constexpr std::int64_t kWorthAThread = 16384;
    const std::int64_t grain = std::max<std::int64_t>(1, kWorthAThread / (heads.columns * heads.size));
    at::parallel_for(0, query.size(0) * heads.count, grain,
                     [&](std::int64_t first, std::int64_t last) { attend_heads(heads, first, last); });
}

void check_columns(const at::Tensor& tensor, std::int64_t rows, std::int64_t count, std::int64_t columns,
                   std::int64_t size, const std::string& where) {
    check_shape(tensor, {rows, count, columns, size}, where);
    if (tensor.stride(3) != 1 || tensor.stride(2) != size)
        throw ModelError("[" + where + "] expected the columns of each head to be contiguous");
}

}  // namespace

at::Tensor attend_step(const at::Tensor& query, const at::Tensor& keys, const at::Tensor& values,
                       const at::Tensor& bias) {
    const std::int64_t rows = query.size(0), count = query.size(2), size = query.size(3);
    check_shape(query, {rows, 1, count, size}, "attend_step query");
    check_columns(keys, rows, count, kAnySize, size, "attend_step keys");
    check_columns(values, rows, count, keys.size(2), size, "attend_step values");
    if (bias.defined()) check_shape(bias, {rows, 1, 1, keys.size(2)}, "attend_step bias");
    at::Tensor output = at::empty({rows, 1, count, size}, query.options());
    if (keys.scalar_type() == at::kHalf) {
        attend_rows<at::Half>(query, keys, values, bias, output);
    } else {
        attend_rows<float>(query, keys, values, bias, output);
    }
    return output;
}

}  // namespace musicsteer
