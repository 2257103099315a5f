// Atomic operations: one thread of the system runs all blocks, so nothing comes between reading and writing.
#pragma once
#include "numbers.h"

namespace emulated {

template <class T, class F> static inline T replaced(T *at, F with) {
    T before = *at;
    *at = with(before);
    return before;
}

} // namespace emulated

#define EMULATED_ATOMIC(name, expression)                                                                                       \
    template <class T, class U> static inline T name(T *at, U operand) {                                                        \
        T b = (T)operand;                                                                                                       \
        return emulated::replaced(at, [b](T a) -> T { return expression; });                                                    \
    }
EMULATED_ATOMIC(atomicAdd, a + b)
EMULATED_ATOMIC(atomicSub, a - b)
EMULATED_ATOMIC(atomicMax, emulated::larger<T>(a, b))
EMULATED_ATOMIC(atomicMin, emulated::smaller<T>(a, b))
EMULATED_ATOMIC(atomicAnd, a & b)
EMULATED_ATOMIC(atomicOr, a | b)
EMULATED_ATOMIC(atomicXor, a ^ b)
EMULATED_ATOMIC(atomicExch, ((void)a, b))

template <class T, class U, class V> static inline T atomicCAS(T *at, U expected, V value) {
    T wanted = (T)expected, next = (T)value;
    return emulated::replaced(at, [wanted, next](T a) { return a == wanted ? next : a; });
}
