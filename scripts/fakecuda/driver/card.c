/* The card that is played: what it can do, and the settings that say so (README.md lists them). */
#include "card.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

int version_of(const char *text) {
    int major = 0, minor = 0;
    sscanf(text, "%d.%d", &major, &minor);
    return 10 * major + minor;
}

int capability(void) { return version_of(setting("FAKECUDA_CAPABILITY", "9.0")); }

int driver_release(void) { return version_of(setting("FAKECUDA_DRIVER", "13.2")); }

unsigned long long memory_size(void) { return strtoull(setting("FAKECUDA_MEMORY", "17179869184"), NULL, 10); }

/* From the table "Technical Specifications per Compute Capability" of the CUDA C++ programming guide. */
int most_shared_memory(void) {
    switch (capability()) {
    case 75: return 64 << 10;
    case 80:
    case 87: return 163 << 10;
    case 86:
    case 89:
    case 120:
    case 121: return 99 << 10;
    default: return 227 << 10;
    }
}

/* The compiler writes to the same file: whole lines, appended. */
void note(const char *format, ...) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const char *path = setting("FAKECUDA_LOG", NULL);
    if (!path) return;
    pthread_mutex_lock(&lock);
    FILE *log = fopen(path, "a");
    if (log) {
        va_list arguments;
        va_start(arguments, format);
        vfprintf(log, format, arguments);
        va_end(arguments);
        fclose(log);
    }
    pthread_mutex_unlock(&lock);
}

Result cuInit(unsigned flags) {
    (void)flags;
    return SUCCESS;
}

Result cuDriverGetVersion(int *version) {
    *version = driver_release() / 10 * 1000 + driver_release() % 10 * 10;
    return SUCCESS;
}

static int cards(void) { return atoi(setting("FAKECUDA_CARDS", "1")); }

Result cuDeviceGetCount(int *count) {
    *count = cards();
    return SUCCESS;
}

Result cuDeviceGet(int *device, int ordinal) {
    if (ordinal < 0 || ordinal >= cards()) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

Result cuDeviceGetName(char *name, int length, int device) {
    (void)device;
    snprintf(name, length, "a processor as a card of compute capability %d.%d", capability() / 10, capability() % 10);
    return SUCCESS;
}

Result cuDeviceGetUuid_v2(void *uuid, int device) {
    memset(uuid, device, 16);
    return SUCCESS;
}

Result cuDeviceTotalMem_v2(size_t *bytes, int device) {
    (void)device;
    *bytes = memory_size();
    return SUCCESS;
}

/* CUdevice_attribute, those that are asked for. */
enum {
    MAX_THREADS_PER_BLOCK = 1,
    MAX_BLOCK_DIM_X = 2,
    MAX_BLOCK_DIM_Y = 3,
    MAX_BLOCK_DIM_Z = 4,
    MAX_GRID_DIM_X = 5,
    MAX_GRID_DIM_Y = 6,
    MAX_GRID_DIM_Z = 7,
    MAX_SHARED_MEMORY_PER_BLOCK = 8,
    WARP_SIZE = 10,
    MULTIPROCESSOR_COUNT = 16,
    UNIFIED_ADDRESSING = 41,
    CAPABILITY_MAJOR = 75,
    CAPABILITY_MINOR = 76,
    MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
    MEMORY_POOLS_SUPPORTED = 115,
};

static int multiprocessors(void) {
    switch (capability()) {
    case 75: return 40;  /* T4 */
    case 80: return 108; /* A100 */
    case 89: return 128; /* RTX 4090 */
    case 120: return 170; /* RTX 5090 */
    default: return 132; /* H200 */
    }
}

Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case MAX_THREADS_PER_BLOCK:
    case MAX_BLOCK_DIM_X:
    case MAX_BLOCK_DIM_Y: *value = 1024; break;
    case MAX_BLOCK_DIM_Z: *value = 64; break;
    case MAX_GRID_DIM_X: *value = 2147483647; break;
    case MAX_GRID_DIM_Y:
    case MAX_GRID_DIM_Z: *value = 65535; break;
    case MAX_SHARED_MEMORY_PER_BLOCK: *value = 48 << 10; break;
    case WARP_SIZE: *value = 32; break;
    case MULTIPROCESSOR_COUNT: *value = multiprocessors(); break;
    case CAPABILITY_MAJOR: *value = capability() / 10; break;
    case CAPABILITY_MINOR: *value = capability() % 10; break;
    case MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = most_shared_memory(); break;
    case UNIFIED_ADDRESSING:
    case MEMORY_POOLS_SUPPORTED: *value = 1; break;
    default:
        *value = 0;
        note("ATTRIBUTE %d was asked for and is not known: 0\n", attribute);
    }
    return SUCCESS;
}

Result cuGetErrorName(Result result, const char **name) {
    switch (result) {
    case SUCCESS: *name = "CUDA_SUCCESS"; break;
    case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case INVALID_PTX: *name = "CUDA_ERROR_INVALID_PTX"; break;
    case UNSUPPORTED_PTX_VERSION: *name = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    case NOT_SUPPORTED: *name = "CUDA_ERROR_NOT_SUPPORTED"; break;
    default: *name = "CUDA_ERROR_UNKNOWN";
    }
    return SUCCESS;
}

Result cuGetErrorString(Result result, const char **text) { return cuGetErrorName(result, text); }

/* NVRTC looks for the loaded driver and asks it for a table of its own; it crashes where this entry point is missing. */
Result cuGetExportTable(const void **table, const void *uuid) {
    (void)uuid;
    *table = NULL;
    return NOT_SUPPORTED;
}
