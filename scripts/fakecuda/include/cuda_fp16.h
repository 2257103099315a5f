// Half precision.
#pragma once
#include "emulation/half.h"

struct __half {
    _Float16 number;
    __half() = default;
    template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>> __half(T x) : number((_Float16)x) {}
    operator float() const { return (float)number; }
};
EMULATED_HALF(__half, __half2)
static inline __half __float2half(float x) { return __half(x); }
static inline float __half2float(__half x) { return x; }
