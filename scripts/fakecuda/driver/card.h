/* What the files of the driver share: results, settings, and the log. */
#ifndef FAKECUDA_CARD_H
#define FAKECUDA_CARD_H

#include <stddef.h>
#include <stdint.h>

/* CUresult, as cuda.h numbers them. */
typedef int Result;
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_PTX = 218,
    UNSUPPORTED_PTX_VERSION = 222,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801,
};

typedef unsigned long long DevicePointer;

/* A setting from the environment, or what stands for it where it is not set. */
const char *setting(const char *name, const char *otherwise);
/* "12.4" as 124; every version here is written that way. */
int version_of(const char *text);
/* Compute capability: 90 for 9.0. */
int capability(void);
/* The release of CUDA that the driver belongs to: 132 for 13.2. */
int driver_release(void);
unsigned long long memory_size(void);
/* Bytes of shared memory that a block may ask for. */
int most_shared_memory(void);

/* A line for the log of FAKECUDA_LOG, if there is one. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
