#pragma once

// What the processor has, for functions that are compiled once for each kind of it.

namespace musicsteer {

#if defined(__x86_64__)

inline bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}

inline bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

#endif

}  // namespace musicsteer
