// Threads of a block: each is a fiber with a stack of its own, and runs until it waits for others.
#pragma once
#include "launch.h"
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

struct uint3 {
    unsigned x, y, z;
};
typedef uint3 dim3;
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

static dim3 gridDim, blockDim;
static uint3 blockIdx;
static const int warpSize = 32;

namespace emulated {

enum { MOST_THREADS = EMULATED_THREADS, WARP = 32, STACK = EMULATED_STACK, PAGE = EMULATED_PAGE };

enum State { READY, AT_WARP, AT_BLOCK, LEFT };

struct Thread {
    uint3 index;
    unsigned lane, warp;
    State state;
    // The line of the source where it waits: lanes that wait together must wait at the same one.
    unsigned line;
    // Which half of its warp's slots its last value went to: a lane may be one value ahead of another that still reads.
    unsigned half;
#if defined(__x86_64__)
    void *stack;
#else
    ucontext_t context;
#endif
};

static Thread threads[MOST_THREADS];
static Thread *self = threads;
static void (*body)();
static const char *kernel_name = "?";
static unsigned faults;

// What no card allows, or no card defines the result of.
static void fault(const char *what, unsigned line) {
    faults++;
    fprintf(stderr, "fakecuda: %s, block %u,%u,%u, line %u of its source: %s\n", kernel_name, blockIdx.x, blockIdx.y, blockIdx.z, line,
            what);
}

#if defined(__x86_64__)

// Saves what a call must keep, and goes on where another fiber did so. `ucontext` would ask the system for its signals every time.
extern "C" void emulated_switch(void **from, void *to) __attribute__((visibility("hidden")));
asm(R"(
    .text
    .globl emulated_switch
    .hidden emulated_switch
emulated_switch:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
)");

static void *scheduler;

static void enter() {
    body();
    self->state = LEFT;
    emulated_switch(&self->stack, scheduler);
    __builtin_unreachable();
}

static void prepare(Thread &thread, char *top) {
    // The first switch takes six registers and an address to return to. A function begins with a stack that is off by 8 from 16.
    void **stack = (void **)top - 1;
    *--stack = (void *)enter;
    stack -= 6;
    memset(stack, 0, 6 * sizeof *stack);
    thread.stack = stack;
}

static void resume(Thread &thread) {
    self = &thread;
    emulated_switch(&scheduler, thread.stack);
}

static void pause() { emulated_switch(&self->stack, scheduler); }

#else

static ucontext_t scheduler;

static void enter() {
    body();
    self->state = LEFT;
    swapcontext(&self->context, &scheduler);
}

static void prepare(Thread &thread, char *top) {
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = top - STACK + PAGE;
    thread.context.uc_stack.ss_size = STACK - PAGE;
    makecontext(&thread.context, enter, 0);
}

static void resume(Thread &thread) {
    self = &thread;
    swapcontext(&scheduler, &thread.context);
}

static void pause() { swapcontext(&self->context, &scheduler); }

#endif

static inline void wait(State state, unsigned line) {
    self->state = state;
    self->line = line;
    pause();
}

} // namespace emulated

#define threadIdx (emulated::self->index)
