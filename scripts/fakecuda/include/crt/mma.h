// Matrix products of a warp (wmma). The first lane holds whole matrices and does the work of all; the others wait for it where
// memory is read or written.
#pragma once
#include "../cuda_bf16.h"
#include "../cuda_fp16.h"
#include "../cuda_runtime.h"

// To 10 bits behind the point: to nearest, ties away from zero.
static inline float __float_to_tf32(float x) {
    const unsigned bits = __float_as_uint(x);
    return std::isfinite(x) ? __uint_as_float((bits + 0x1000u) & ~0x1fffu) : x;
}

namespace nvcuda {
namespace wmma {

using ::__float_to_tf32;

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32 {};
} // namespace precision

template <class T> struct Stored {
    using type = T;
    static float seen(T x) { return (float)x; }
};
// A tensor core reads the upper bits of a number, rounded before or not.
template <> struct Stored<precision::tf32> {
    using type = float;
    static float seen(float x) { return __uint_as_float(__float_as_uint(x) & ~0x1fffu); }
};

template <class Use, int M, int N, int K> struct Size;
template <int M, int N, int K> struct Size<matrix_a, M, N, K> {
    enum { rows = M, columns = K };
};
template <int M, int N, int K> struct Size<matrix_b, M, N, K> {
    enum { rows = K, columns = N };
};
template <int M, int N, int K> struct Size<accumulator, M, N, K> {
    enum { rows = M, columns = N };
};

template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment {
    enum { rows = Size<Use, M, N, K>::rows, columns = Size<Use, M, N, K>::columns, num_elements = rows * columns };
    typename Stored<T>::type x[num_elements];
};

static inline bool leads() { return emulated::self->lane == 0; }

static inline unsigned place(unsigned row, unsigned column, unsigned stride, bool by_rows) {
    return by_rows ? row * stride + column : column * stride + row;
}

template <class F, class V> static inline void fill_fragment(F &to, V value) {
    if (leads())
        for (auto &x : to.x) x = (std::remove_reference_t<decltype(x)>)value;
}

template <class F, class S> static inline void load(F &to, const S *from, unsigned stride, bool by_rows) {
    emulated::sync_warp(__LINE__);
    if (!leads()) return;
    for (int row = 0; row < F::rows; row++)
        for (int column = 0; column < F::columns; column++)
            to.x[row * F::columns + column] = (std::remove_reference_t<decltype(*to.x)>)from[place(row, column, stride, by_rows)];
}

template <class Use, int M, int N, int K, class T, class Layout, class S>
static inline void load_matrix_sync(fragment<Use, M, N, K, T, Layout> &to, const S *from, unsigned stride) {
    load(to, from, stride, std::is_same_v<Layout, row_major>);
}

template <int M, int N, int K, class T, class Layout, class S>
static inline void load_matrix_sync(fragment<accumulator, M, N, K, T, Layout> &to, const S *from, unsigned stride, layout_t layout) {
    load(to, from, stride, layout == mem_row_major);
}

template <int M, int N, int K, class T, class Layout, class S>
static inline void store_matrix_sync(S *to, const fragment<accumulator, M, N, K, T, Layout> &from, unsigned stride, layout_t layout) {
    emulated::sync_warp(__LINE__);
    if (leads())
        for (int row = 0; row < M; row++)
            for (int column = 0; column < N; column++)
                to[place(row, column, stride, layout == mem_row_major)] = (S)from.x[row * N + column];
    emulated::sync_warp(__LINE__);
}

template <int M, int N, int K, class T, class LayoutA, class LayoutB, class Sum>
static inline void mma_sync(fragment<accumulator, M, N, K, Sum> &to, const fragment<matrix_a, M, N, K, T, LayoutA> &a,
                            const fragment<matrix_b, M, N, K, T, LayoutB> &b, const fragment<accumulator, M, N, K, Sum> &from) {
    if (!leads()) return;
    for (int row = 0; row < M; row++) {
        float sums[N];
        for (int column = 0; column < N; column++) sums[column] = (float)from.x[row * N + column];
        for (int k = 0; k < K; k++) {
            const float left = Stored<T>::seen(a.x[row * K + k]);
            for (int column = 0; column < N; column++) sums[column] += left * Stored<T>::seen(b.x[k * N + column]);
        }
        for (int column = 0; column < N; column++) to.x[row * N + column] = (Sum)sums[column];
    }
}

} // namespace wmma
} // namespace nvcuda
