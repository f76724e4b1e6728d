#pragma once

// GCC's and Clang's fixed-size vectors: the same source for AVX-512, AVX2 and other processors. For functions
// that are compiled once for each, into which all of this is inlined.

#include <cstdint>
#include <cstring>

#define MUSICSTEER_INLINE inline __attribute__((always_inline))

namespace musicsteer {

/// Vectors of `Lanes` numbers. Spelled out, since GCC 12 mistakes types whose size depends on a parameter.
template <int Lanes>
struct VectorTypes;

template <>
struct VectorTypes<4> {
    typedef float Floats __attribute__((vector_size(16)));
    typedef std::int32_t Ints __attribute__((vector_size(16)));
    typedef std::uint32_t Bits __attribute__((vector_size(16)));
    typedef std::int16_t Int16s __attribute__((vector_size(8)));
    typedef std::uint16_t Bits16 __attribute__((vector_size(8)));
};

template <>
struct VectorTypes<8> {
    typedef float Floats __attribute__((vector_size(32)));
    typedef std::int32_t Ints __attribute__((vector_size(32)));
    typedef std::uint32_t Bits __attribute__((vector_size(32)));
    typedef std::int16_t Int16s __attribute__((vector_size(16)));
    typedef std::uint16_t Bits16 __attribute__((vector_size(16)));
};

template <>
struct VectorTypes<16> {
    typedef float Floats __attribute__((vector_size(64)));
    typedef std::int32_t Ints __attribute__((vector_size(64)));
    typedef std::uint32_t Bits __attribute__((vector_size(64)));
    typedef std::int16_t Int16s __attribute__((vector_size(32)));
    typedef std::uint16_t Bits16 __attribute__((vector_size(32)));
};

/// Arithmetic on `Lanes` floats: as many as one instruction takes, 16 with AVX-512 and 8 with AVX2. GCC
/// computes with longer vectors too, but keeps them in memory, which is several times slower.
template <int Lanes>
struct FloatVector : VectorTypes<Lanes> {
    static constexpr int kLanes = Lanes;
    using Floats = typename VectorTypes<Lanes>::Floats;
    using Ints = typename VectorTypes<Lanes>::Ints;

    MUSICSTEER_INLINE static Floats load(const float* from) {
        Floats values;
        std::memcpy(&values, from, sizeof(values));
        return values;
    }

    MUSICSTEER_INLINE static void store(float* to, const Floats& values) {
        std::memcpy(to, &values, sizeof(values));
    }

    MUSICSTEER_INLINE static Floats as_floats(const Ints& bits) {
        Floats values;
        std::memcpy(&values, &bits, sizeof(values));
        return values;
    }

    /// e^x = 2^n e^rest, with n a whole number and |rest| at most half the logarithm of 2.
    struct Exponential {
        Floats scale;  ///< 2^n
        Floats rise;   ///< e^rest - 1
    };

    /// Within 2 units in the last place (the polynomial of Cephes' expf), x clamped to +-87.
    MUSICSTEER_INLINE static Exponential exponential_parts(Floats x) {
        x = x < -87.0F ? Floats{} - 87.0F : x;
        x = x > 87.0F ? Floats{} + 87.0F : x;
        const Floats shifted = x * 1.44269504F + 12582912.0F;  // 1.5 x 2^23: rounds to a whole number
        const Floats whole = shifted - 12582912.0F;
        const Floats rest = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
        Floats sum = rest * 1.9875691500e-4F + 1.3981999507e-3F;
        sum = sum * rest + 8.3334519073e-3F;
        sum = sum * rest + 4.1665795894e-2F;
        sum = sum * rest + 1.6666665459e-1F;
        sum = sum * rest + 5.0000001201e-1F;
        const Ints exponent = (__builtin_convertvector(whole, Ints) + 127) << 23;
        return {as_floats(exponent), sum * (rest * rest) + rest};
    }

    /// e^x, x clamped to +-87.
    MUSICSTEER_INLINE static Floats exponential(const Floats& x) {
        const Exponential parts = exponential_parts(x);
        return (parts.rise + 1.0F) * parts.scale;
    }

    /// e^x - 1, precise near 0 too; x clamped to +-87.
    MUSICSTEER_INLINE static Floats exponential_minus_one(const Floats& x) {
        const Exponential parts = exponential_parts(x);
        return parts.rise * parts.scale + (parts.scale - 1.0F);
    }
};

}  // namespace musicsteer
