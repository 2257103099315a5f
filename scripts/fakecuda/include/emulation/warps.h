// What threads do together: barriers, and values from lane to lane. Every lane must come, and to the same line.
#pragma once
#include "threads.h"

namespace emulated {

// The values of a warp's lanes, twice: a lane that goes on writes to the other half.
static unsigned long long slots[MOST_THREADS / WARP][2][WARP];
// The lanes that met when a warp last went on. Some may have left since, but what they said still counts.
static unsigned present[MOST_THREADS / WARP];

static inline void check_mask(unsigned mask, unsigned line) {
    // CubeCL names all lanes. Anything else would need to know which of them wait for which.
    if (mask != 0xffffffffu) fault("an operation of a part of a warp, which is not emulated", line);
}

template <class T> static inline void offer(unsigned mask, T value, unsigned line) {
    static_assert(sizeof(T) <= 8, "lanes exchange at most 8 bytes");
    check_mask(mask, line);
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof(T));
    self->half ^= 1;
    slots[self->warp][self->half][self->lane] = bits;
    wait(AT_WARP, line);
}

// What a lane says that had left, or was never there, is not defined: NaN.
template <class T> static inline T taken(unsigned lane) {
    T value;
    if (present[self->warp] >> lane & 1) {
        memcpy(&value, &slots[self->warp][self->half][lane], sizeof(T));
    } else {
        memset(&value, 0xff, sizeof(T));
    }
    return value;
}

template <class T> static inline T shuffled(unsigned mask, T value, unsigned lane, unsigned line) {
    offer(mask, value, line);
    return taken<T>(lane % WARP);
}

template <class T> static inline T shuffled_xor(unsigned mask, T value, unsigned bits, unsigned line) {
    offer(mask, value, line);
    return taken<T>((self->lane ^ bits) % WARP);
}

// Lanes without a neighbour at this distance keep their own.
template <class T> static inline T shuffled_up(unsigned mask, T value, unsigned distance, unsigned line) {
    offer(mask, value, line);
    return self->lane < distance ? value : taken<T>(self->lane - distance);
}

template <class T> static inline T shuffled_down(unsigned mask, T value, unsigned distance, unsigned line) {
    offer(mask, value, line);
    return self->lane + distance >= WARP ? value : taken<T>(self->lane + distance);
}

static inline unsigned ballot(unsigned mask, bool vote, unsigned line) {
    offer<unsigned>(mask, vote, line);
    unsigned votes = 0;
    for (unsigned lane = 0; lane < WARP; lane++)
        if ((present[self->warp] >> lane & 1) && taken<unsigned>(lane)) votes |= 1u << lane;
    return votes;
}

static inline bool all_agree(unsigned mask, bool vote, unsigned line) {
    const unsigned votes = ballot(mask, vote, line);
    return votes == present[self->warp];
}

static inline void sync_warp(unsigned line) { wait(AT_WARP, line); }

// Those that have not left are said to be active: on a card it depends on where they are.
static inline unsigned active() {
    unsigned lanes = 0;
    for (unsigned lane = 0, thread = self->warp * WARP; lane < WARP && thread < blockDim.x * blockDim.y * blockDim.z; lane++, thread++)
        if (threads[thread].state != LEFT) lanes |= 1u << lane;
    return lanes;
}

} // namespace emulated

#define __syncthreads() emulated::wait(emulated::AT_BLOCK, __LINE__)
#define __syncwarp(...) emulated::sync_warp(__LINE__)
#define __shfl_sync(mask, value, lane, ...) emulated::shuffled(mask, value, lane, __LINE__)
#define __shfl_xor_sync(mask, value, bits, ...) emulated::shuffled_xor(mask, value, bits, __LINE__)
#define __shfl_up_sync(mask, value, distance, ...) emulated::shuffled_up(mask, value, distance, __LINE__)
#define __shfl_down_sync(mask, value, distance, ...) emulated::shuffled_down(mask, value, distance, __LINE__)
#define __ballot_sync(mask, vote) emulated::ballot(mask, (vote) != 0, __LINE__)
#define __any_sync(mask, vote) (emulated::ballot(mask, (vote) != 0, __LINE__) != 0)
#define __all_sync(mask, vote) emulated::all_agree(mask, (vote) != 0, __LINE__)
#define __activemask() emulated::active()

// One thread of the system runs everything: what one fiber wrote, the next one sees.
static inline void __threadfence() {}
static inline void __threadfence_block() {}
