/* The border between the driver, which is C, and a kernel's library, which is C++. */
#ifndef FAKECUDA_LAUNCH_H
#define FAKECUDA_LAUNCH_H

enum { EMULATED_THREADS = 1024, EMULATED_STACK = 256 << 10, EMULATED_PAGE = 4096 };

typedef struct {
    /* Whether threads run in backward order, so that a barrier that is missing shows. */
    int backwards;
    /* A stack for every thread that a block may have, one above the other; the lowest page of each faults. All kernels share them: a
     * process may not have as many pieces of memory as there would be if each had its own. */
    char *stacks;
} EmulatedOptions;

/* Runs a grid; not 0 if the kernel did what no card allows, which has then been printed. Every library has one, `emulated_launch`. */
typedef int EmulatedLaunch(void **arguments, const unsigned grid[3], const unsigned block[3], unsigned shared,
                           const EmulatedOptions *options);

#endif
