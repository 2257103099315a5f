/* Modules, and launching their kernels on the processor.
 *
 * The compiler beside this (../compiler) leaves a line "//FAKECUDA_KERNEL path" in its PTX: the library that g++ made of the same
 * source. PTX without it is checked and never run.
 */
#define _GNU_SOURCE
#include "card.h"
#include "../include/emulation/launch.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A kernel and the module that it is alone in, as all that CubeCL makes are. */
typedef struct {
    char *name;
    unsigned most_threads, most_shared;
    EmulatedLaunch *run;
} Function;

/* PTX's own version, by the release of CUDA that brought it: a driver takes none that is newer than itself. */
static int newest_ptx(void) {
    int release = driver_release();
    if (release >= 130) return 90 + (release - 130);
    if (release >= 127) return 86 + (release - 127);
    if (release == 126) return 85;
    return 80 + (release - 120);
}

/* Whether there is nothing to run, or it can be run. */
static int link_to_processor(Function *function, const char *ptx) {
    static const char MARK[] = "//FAKECUDA_KERNEL ";
    const char *line = strstr(ptx, MARK);
    char path[4096];
    if (!line || sscanf(line + sizeof MARK - 1, "%4095[^\n]", path) != 1) return 1;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    function->run = library ? (EmulatedLaunch *)dlsym(library, "emulated_launch") : NULL;
    if (!function->run) fprintf(stderr, "fakecuda: %s\n", dlerror());
    return function->run != NULL;
}

Result cuModuleLoadData(void **module, const void *image) {
    const char *ptx = image;
    const char *version = strstr(ptx, ".version "), *target = strstr(ptx, ".target sm_"), *entry = strstr(ptx, ".entry ");
    if (version && version_of(version + strlen(".version ")) > newest_ptx()) return UNSUPPORTED_PTX_VERSION;
    if ((target && atoi(target + strlen(".target sm_")) > capability()) || !entry) return INVALID_PTX;
    entry += strlen(".entry ");
    Function *function = calloc(1, sizeof *function);
    if (!function) return OUT_OF_MEMORY;
    const char *most = strstr(entry, ".maxntid ");
    function->name = strndup(entry, strcspn(entry, "( \t\n"));
    function->most_threads = most ? atoi(most + strlen(".maxntid ")) : 1024;
    function->most_shared = 48 << 10;
    if (!link_to_processor(function, ptx)) return INVALID_PTX;
    *module = function;
    return SUCCESS;
}

Result cuModuleUnload(void *module) {
    (void)module;
    return SUCCESS;
}

Result cuModuleGetFunction(void **function, void *module, const char *name) {
    if (strcmp(((Function *)module)->name, name)) return NOT_FOUND;
    *function = module;
    return SUCCESS;
}

Result cuFuncSetAttribute(void *function, int attribute, int value) {
    enum { MAX_DYNAMIC_SHARED_SIZE_BYTES = 8 };
    if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES) return SUCCESS;
    if (value < 0 || value > most_shared_memory()) return INVALID_VALUE;
    Function *kernel = function;
    if ((unsigned)value > kernel->most_shared) kernel->most_shared = value;
    return SUCCESS;
}

/* For the threads of one block after the other: a program launches from one thread. */
static char *stacks(void) {
    static char *memory;
    if (memory) return memory;
    const size_t bytes = (size_t)EMULATED_THREADS * EMULATED_STACK;
    char *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return NULL;
    for (size_t stack = 0; stack < bytes; stack += EMULATED_STACK) mprotect(mapped + stack, EMULATED_PAGE, PROT_NONE);
    return memory = mapped;
}

/* What a card refuses. */
static int is_within_limits(const Function *function, const unsigned grid[3], const unsigned block[3], unsigned shared) {
    unsigned long long threads = (unsigned long long)block[0] * block[1] * block[2];
    return grid[0] >= 1 && grid[0] <= 2147483647u && grid[1] >= 1 && grid[1] <= 65535 && grid[2] >= 1 && grid[2] <= 65535 &&
           block[0] <= 1024 && block[1] <= 1024 && block[2] <= 64 && threads >= 1 && threads <= function->most_threads &&
           shared <= function->most_shared;
}

Result cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                      unsigned block_z, unsigned shared, void *stream, void **arguments, void **extra) {
    (void)stream, (void)extra;
    const Function *function = handle;
    const unsigned grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    note("LAUNCH %s grid=%u,%u,%u block=%u,%u,%u shared=%u\n", function->name, grid_x, grid_y, grid_z, block_x, block_y, block_z,
         shared);
    if (!is_within_limits(function, grid, block, shared)) {
        fprintf(stderr, "fakecuda: no card launches %s with grid %u,%u,%u, block %u,%u,%u and %u bytes (of %u threads and %u bytes)\n",
                function->name, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, function->most_threads,
                function->most_shared);
        return INVALID_VALUE;
    }
    if (!function->run) return SUCCESS;
    const EmulatedOptions options = {.backwards = atoi(setting("FAKECUDA_BACKWARDS", "0")), .stacks = stacks()};
    if (!options.stacks) return OUT_OF_MEMORY;
    if (function->run(arguments, grid, block, shared, &options) == 0) return SUCCESS;
    /* A program that tries its kernels goes on without one that fails, and nobody would notice. */
    if (strcmp(setting("FAKECUDA_FAULTS", "abort"), "report")) abort();
    return LAUNCH_FAILED;
}
