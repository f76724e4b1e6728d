#pragma once

#include <cstdlib>
#include <string_view>

#include "musicsteer/errors.hpp"

// Features of the processor, for functions that are compiled once for each kind.
// MUSICSTEER_MAX_CPU_ISA=AVX2 hides AVX-512, and =PORTABLE hides both: for measuring and testing what other
// processors run.

namespace musicsteer {

/// Whether the environment limits the program to `level`.
inline bool is_limited_to(std::string_view level) {
    const char* most = std::getenv("MUSICSTEER_MAX_CPU_ISA");
    return most && most == level;
}

/// @throws UsageError for a limit that does not exist, which would otherwise have no effect
inline void check_processor_limit() {
    const char* most = std::getenv("MUSICSTEER_MAX_CPU_ISA");
    if (most && !is_limited_to("AVX2") && !is_limited_to("PORTABLE"))
        throw UsageError("MUSICSTEER_MAX_CPU_ISA: expected AVX2 or PORTABLE, found " + in_quotes(most));
}

#if defined(__x86_64__)

inline bool has_avx2() {
    static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                            __builtin_cpu_supports("f16c") && !is_limited_to("PORTABLE");
    return has;
}

inline bool has_avx512() {
    static const bool has = has_avx2() && __builtin_cpu_supports("avx512f") &&
                            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                            !is_limited_to("AVX2");
    return has;
}

inline bool has_avx512_vnni() {
    static const bool has = has_avx512() && __builtin_cpu_supports("avx512vnni");
    return has;
}

inline bool has_avx512_bf16() {
    static const bool has = has_avx512() && __builtin_cpu_supports("avx512bf16");
    return has;
}

#else

inline bool has_avx512_bf16() {
    return false;
}

#endif

}  // namespace musicsteer
