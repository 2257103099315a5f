/* The border between the driver, which is C, and a kernel's library, which is C++. */
#ifndef FAKECUDA_LAUNCH_H
#define FAKECUDA_LAUNCH_H

typedef struct {
    /* Whether threads run in backward order, so that a barrier that is missing shows. */
    int backwards;
} EmulatedOptions;

/* Runs a grid; not 0 if the kernel did what no card allows, which has then been printed. Every library has one, `emulated_launch`. */
typedef int EmulatedLaunch(void **arguments, const unsigned grid[3], const unsigned block[3], unsigned shared,
                           const EmulatedOptions *options);

#endif
