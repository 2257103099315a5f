// Arithmetic of CUDA C++ that C++ does not have, or calls otherwise.
#pragma once
#include <cmath>
#include <cstring>
#include <type_traits>

using std::abs, std::acos, std::acosh, std::asin, std::asinh, std::atan, std::atan2, std::atanh, std::ceil, std::cos, std::cosh, std::erf,
    std::exp, std::expm1, std::fabs, std::floor, std::fma, std::fmod, std::hypot, std::isfinite, std::isinf, std::isnan, std::log,
    std::log1p, std::log2, std::pow, std::rint, std::round, std::sin, std::sinh, std::sqrt, std::tan, std::tanh, std::trunc;

namespace emulated {

// Of a number and what is none, the number, as the card has it.
template <class T> static inline T smaller(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) return std::fmin(a, b);
    return b < a ? b : a;
}
template <class T> static inline T larger(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) return std::fmax(a, b);
    return a < b ? b : a;
}
template <class To, class From> static inline To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

} // namespace emulated

template <class A, class B> static inline std::common_type_t<A, B> min(A a, B b) {
    return emulated::smaller<std::common_type_t<A, B>>(a, b);
}
template <class A, class B> static inline std::common_type_t<A, B> max(A a, B b) {
    return emulated::larger<std::common_type_t<A, B>>(a, b);
}

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }

// The fast functions are exact here: what their last bits are, no two cards agree on. The C library has some of these names itself.
#define EMULATED_FAST(name, function)                                                                                           \
    static inline float emulated_##name(float x) { return function(x); }
EMULATED_FAST(expf, expf)
EMULATED_FAST(logf, logf)
EMULATED_FAST(sinf, sinf)
EMULATED_FAST(cosf, cosf)
EMULATED_FAST(tanhf, tanhf)
static inline float emulated_powf(float x, float y) { return powf(x, y); }
#define __expf emulated_expf
#define __logf emulated_logf
#define __sinf emulated_sinf
#define __cosf emulated_cosf
#define __tanhf emulated_tanhf
#define __powf emulated_powf

static inline unsigned __float_as_uint(float x) { return emulated::bits_as<unsigned>(x); }
static inline float __uint_as_float(unsigned x) { return emulated::bits_as<float>(x); }
static inline int __float_as_int(float x) { return emulated::bits_as<int>(x); }
static inline float __int_as_float(int x) { return emulated::bits_as<float>(x); }

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; bit++) reversed |= (x >> bit & 1) << (31 - bit);
    return reversed;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
static inline int __mulhi(int a, int b) { return (long long)a * b >> 32; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }

template <class T> static inline T __ldg(const T *from) { return *from; }
