// What numbers of 16 bits have in common: every operation is done in single precision and rounded, as a card does it.
#pragma once
#include "numbers.h"

// `H` must be made of a float and turn into one; `H2` are two of them.
#define EMULATED_HALF(H, H2)                                                                                                    \
    struct __attribute__((aligned(4))) H2 {                                                                                     \
        H x, y;                                                                                                                 \
        H2() = default;                                                                                                         \
        H2(H both) : x(both), y(both) {}                                                                                        \
        H2(H first, H second) : x(first), y(second) {}                                                                          \
    };                                                                                                                          \
    EMULATED_HALF_OPERATOR(H, H2, +)                                                                                            \
    EMULATED_HALF_OPERATOR(H, H2, -)                                                                                            \
    EMULATED_HALF_OPERATOR(H, H2, *)                                                                                            \
    EMULATED_HALF_OPERATOR(H, H2, /)                                                                                            \
    static inline H operator-(H a) { return H(-(float)a); }                                                                     \
    static inline H2 operator-(H2 a) { return H2(-a.x, -a.y); }                                                                 \
    EMULATED_HALF_FUNCTION(H, H2, exp, expf)                                                                                    \
    EMULATED_HALF_FUNCTION(H, H2, log, logf)                                                                                    \
    EMULATED_HALF_FUNCTION(H, H2, sin, sinf)                                                                                    \
    EMULATED_HALF_FUNCTION(H, H2, cos, cosf)                                                                                    \
    EMULATED_HALF_FUNCTION(H, H2, sqrt, sqrtf)                                                                                  \
    EMULATED_HALF_FUNCTION(H, H2, rsqrt, rsqrtf)                                                                                \
    EMULATED_HALF_FUNCTION(H, H2, ceil, ceilf)                                                                                  \
    EMULATED_HALF_FUNCTION(H, H2, floor, floorf)                                                                                \
    EMULATED_HALF_FUNCTION(H, H2, rint, rintf)                                                                                  \
    EMULATED_HALF_FUNCTION(H, H2, trunc, truncf)                                                                                \
    static inline H __habs(H a) { return H(fabsf(a)); }                                                                         \
    static inline H2 __habs2(H2 a) { return H2(__habs(a.x), __habs(a.y)); }                                                     \
    EMULATED_HALF_PAIR(H, H2, max, fmaxf)                                                                                       \
    EMULATED_HALF_PAIR(H, H2, min, fminf)                                                                                       \
    static inline bool __hisnan(H a) { return std::isnan((float)a); }                                                           \
    static inline bool __hisinf(H a) { return std::isinf((float)a); }                                                           \
    static inline H __hfma(H a, H b, H c) { return H(fmaf(a, b, c)); }                                                          \
    static inline H2 __hfma2(H2 a, H2 b, H2 c) { return H2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)); }
#define EMULATED_HALF_OPERATOR(H, H2, op)                                                                                       \
    static inline H operator op(H a, H b) { return H((float)a op (float)b); }                                                   \
    static inline H2 operator op(H2 a, H2 b) { return H2(a.x op b.x, a.y op b.y); }
#define EMULATED_HALF_FUNCTION(H, H2, name, function)                                                                           \
    static inline H h##name(H a) { return H(function(a)); }                                                                     \
    static inline H2 h2##name(H2 a) { return H2(h##name(a.x), h##name(a.y)); }
#define EMULATED_HALF_PAIR(H, H2, name, function)                                                                               \
    static inline H __h##name(H a, H b) { return H(function(a, b)); }                                                           \
    static inline H2 __h##name##2(H2 a, H2 b) { return H2(__h##name(a.x, b.x), __h##name(a.y, b.y)); }
