// Running a grid: block after block, and in a block each warp as far as it comes without the others. Where a barrier between warps is
// missing, one reads what another has not written yet.
#pragma once
#include "launch.h"
#include "warps.h"
#include <type_traits>
#include <utility>

namespace emulated {

// Room for the shared memory of a block, and behind it what shows whether a kernel writes more than it asked for.
enum { MOST_SHARED = 227 << 10, BEHIND = 4 << 10 };

// Lets a warp go on if all of its lanes that have not left wait, at the same line.
static bool pass_warp(unsigned warp, unsigned count) {
    unsigned first = warp * WARP, last = first + WARP < count ? first + WARP : count, lanes = 0, waiting = 0, line = 0;
    bool together = true;
    for (unsigned thread = first; thread < last; thread++) {
        if (threads[thread].state == LEFT) continue;
        lanes++;
        if (threads[thread].state != AT_WARP) continue;
        together &= waiting == 0 || line == threads[thread].line;
        line = threads[thread].line;
        waiting++;
    }
    if (lanes == 0 || waiting != lanes) return false;
    if (!together) fault("lanes of a warp wait at different lines", line);
    present[warp] = 0;
    for (unsigned thread = first; thread < last; thread++) {
        if (threads[thread].state != AT_WARP) continue;
        threads[thread].state = READY;
        present[warp] |= 1u << threads[thread].lane;
    }
    return true;
}

// The same for all threads of the block.
static bool pass_block(unsigned count) {
    unsigned waiting = 0, line = 0;
    bool together = true;
    for (unsigned thread = 0; thread < count; thread++) {
        if (threads[thread].state != AT_BLOCK) continue;
        together &= waiting == 0 || line == threads[thread].line;
        line = threads[thread].line;
        waiting++;
    }
    unsigned here = 0;
    for (unsigned thread = 0; thread < count; thread++) here += threads[thread].state != LEFT;
    if (waiting == 0 || waiting != here) return false;
    if (!together) fault("threads of a block wait at different barriers", line);
    if (here != count) fault("some threads have left before the others reach a barrier of all", line);
    for (unsigned thread = 0; thread < count; thread++)
        if (threads[thread].state == AT_BLOCK) threads[thread].state = READY;
    return true;
}

static bool all_have_left(unsigned count) {
    for (unsigned thread = 0; thread < count; thread++)
        if (threads[thread].state != LEFT) return false;
    return true;
}

// Runs the lanes that need not wait; whether there were any.
static bool run_lanes(unsigned warp, unsigned count, bool backwards) {
    unsigned first = warp * WARP, lanes = first + WARP < count ? WARP : count - first;
    bool moved = false;
    for (unsigned i = 0; i < lanes; i++) {
        Thread &thread = threads[first + (backwards ? lanes - 1 - i : i)];
        if (thread.state != READY) continue;
        moved = true;
        resume(thread);
    }
    return moved;
}

static void run_block_together(unsigned count, const EmulatedOptions *options) {
    const bool backwards = options->backwards;
    for (unsigned thread = 0; thread < count; thread++) {
        threads[thread].state = READY;
        threads[thread].half = 0;
        prepare(threads[thread], options->stacks + (size_t)(thread + 1) * STACK);
    }
    for (;;) {
        bool moved = false;
        const unsigned warps = (count + WARP - 1) / WARP;
        for (unsigned i = 0; i < warps; i++) {
            const unsigned warp = backwards ? warps - 1 - i : i;
            while (run_lanes(warp, count, backwards) || pass_warp(warp, count)) moved = true;
        }
        moved |= pass_block(count);
        if (all_have_left(count)) return;
        if (!moved) {
            unsigned line = 0;
            for (unsigned thread = 0; thread < count; thread++)
                if (threads[thread].state != LEFT) line = threads[thread].line;
            return fault("threads wait at a barrier that others never reach", line);
        }
    }
}

// Without barriers and shuffles nobody waits, and no stacks are needed.
static void run_block_alone(unsigned count, const EmulatedOptions *options) {
    for (unsigned i = 0; i < count; i++) {
        self = threads + (options->backwards ? count - 1 - i : i);
        body();
    }
}

static int run_grid(void (*kernel)(), const char *name, bool together, unsigned char *memory, const unsigned grid[3],
                    const unsigned block[3], unsigned shared, const EmulatedOptions *options) {
    kernel_name = name;
    body = kernel;
    faults = 0;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const unsigned count = block[0] * block[1] * block[2];
    for (unsigned thread = 0; thread < count; thread++) {
        threads[thread].index = {thread % block[0], thread / block[0] % block[1], thread / block[0] / block[1]};
        threads[thread].lane = thread % WARP;
        threads[thread].warp = thread / WARP;
        threads[thread].state = READY;
    }
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                // NaN: what a block reads of shared memory it must have written.
                if (memory) memset(memory, 0xff, shared + BEHIND);
                (together ? run_block_together : run_block_alone)(count, options);
                for (unsigned byte = shared; memory && byte < shared + BEHIND; byte++)
                    if (memory[byte] != 0xff) {
                        fault("shared memory is written behind its end", 0);
                        break;
                    }
                if (faults) return 1;
            }
    return 0;
}

// A kernel's arguments are an array of pointers to them.
template <class... A, size_t... I> static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_cv_t<std::remove_reference_t<A>> *)arguments[I]...);
}
template <class... A> static void call(void (*kernel)(A...), void **arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>());
}

} // namespace emulated

// The compiler puts one of these behind a kernel: `memory` is its shared memory or null, `together` whether its threads ever wait.
#define EMULATED_KERNEL(name, memory, together)                                                                                 \
    static void **emulated_arguments;                                                                                           \
    static void emulated_body() { emulated::call(&name, emulated_arguments); }                                                  \
    extern "C" int emulated_launch(void **arguments, const unsigned grid[3], const unsigned block[3], unsigned shared,          \
                                   const EmulatedOptions *options) {                                                            \
        emulated_arguments = arguments;                                                                                         \
        return emulated::run_grid(emulated_body, #name, together, memory, grid, block, shared, options);                        \
    }
