// bfloat16: the upper half of a single-precision number, rounded to nearest, ties to even.
#pragma once
#include "cuda_fp16.h"

struct __nv_bfloat16 {
    unsigned short upper;
    __nv_bfloat16() = default;
    template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>> __nv_bfloat16(T x) {
        const unsigned bits = __float_as_uint((float)x);
        // Rounding could make an infinity of what is no number.
        upper = std::isnan((float)x) ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
    __nv_bfloat16(__half x) : __nv_bfloat16((float)x) {}
    operator float() const { return __uint_as_float((unsigned)upper << 16); }
};
EMULATED_HALF(__nv_bfloat16, __nv_bfloat162)
static inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
static inline float __bfloat162float(__nv_bfloat16 x) { return x; }
