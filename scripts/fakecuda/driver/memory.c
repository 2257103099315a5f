/* Device memory, which is the host's, and copies. An allocation ends at a page that must not be touched. */
#define _GNU_SOURCE
#include "card.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, ALIGNMENT = 512 };

/* What stands in the first page of an allocation, before the memory that is given out. */
typedef struct {
    size_t mapped, bytes;
} Header;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long in_use;

static size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

static Header *header_of(DevicePointer memory) { return (Header *)(uintptr_t)(memory / PAGE * PAGE - PAGE); }

static Result allocate(DevicePointer *memory, size_t bytes) {
    pthread_mutex_lock(&lock);
    int fits = in_use + bytes <= memory_size();
    if (fits) in_use += bytes;
    pthread_mutex_unlock(&lock);
    if (!fits) {
        note("FULL %zu bytes were asked for, %llu of %llu are taken\n", bytes, in_use, memory_size());
        return OUT_OF_MEMORY;
    }
    size_t room = rounded(bytes ? bytes : 1, ALIGNMENT), mapped = PAGE + rounded(room, PAGE) + PAGE;
    char *start = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(start + mapped - PAGE, PAGE, PROT_NONE);
    *(Header *)start = (Header){mapped, bytes};
    char *given = start + mapped - PAGE - room;
    int fill = atoi(setting("FAKECUDA_FILL", "0"));
    if (fill) memset(start + PAGE, fill, mapped - 2 * PAGE);
    *memory = (DevicePointer)(uintptr_t)given;
    note("ALLOCATE %zu\n", bytes);
    return SUCCESS;
}

static Result release(DevicePointer memory) {
    if (!memory) return SUCCESS;
    Header *header = header_of(memory);
    pthread_mutex_lock(&lock);
    in_use -= header->bytes;
    pthread_mutex_unlock(&lock);
    munmap(header, header->mapped);
    return SUCCESS;
}

Result cuMemGetInfo_v2(size_t *unused, size_t *total) {
    *total = memory_size();
    *unused = *total - in_use;
    return SUCCESS;
}

Result cuMemAlloc_v2(DevicePointer *memory, size_t bytes) { return allocate(memory, bytes); }

Result cuMemAllocAsync(DevicePointer *memory, size_t bytes, void *stream) {
    (void)stream;
    return allocate(memory, bytes);
}

Result cuMemFree_v2(DevicePointer memory) { return release(memory); }

Result cuMemFreeAsync(DevicePointer memory, void *stream) {
    (void)stream;
    return release(memory);
}

/* Memory of the host that a card can reach. */
Result cuMemAllocHost_v2(void **memory, size_t bytes) {
    return posix_memalign(memory, PAGE, bytes ? bytes : 1) ? OUT_OF_MEMORY : SUCCESS;
}

Result cuMemFreeHost(void *memory) {
    free(memory);
    return SUCCESS;
}

Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t bytes, void *stream) {
    (void)stream;
    memcpy((void *)(uintptr_t)to, from, bytes);
    return SUCCESS;
}

Result cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t bytes, void *stream) {
    (void)stream;
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return SUCCESS;
}

Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t bytes, void *stream) {
    (void)stream;
    memmove((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes);
    return SUCCESS;
}

Result cuMemsetD8Async(DevicePointer to, unsigned char value, size_t bytes, void *stream) {
    (void)stream;
    memset((void *)(uintptr_t)to, value, bytes);
    return SUCCESS;
}

/* CUDA_MEMCPY2D: one side of a copy of rows, and then the rows. */
typedef struct {
    size_t x_in_bytes, y;
    int memory_type;
    void *host;
    DevicePointer device;
    void *array;
    size_t pitch;
} Side;

typedef struct {
    Side from, to;
    size_t width_in_bytes, height;
} Copy2D;

static char *first_row(const Side *side) {
    enum { HOST = 1 };
    char *memory = side->memory_type == HOST ? side->host : (char *)(uintptr_t)side->device;
    return memory + side->y * side->pitch + side->x_in_bytes;
}

Result cuMemcpy2DAsync_v2(const Copy2D *copy, void *stream) {
    (void)stream;
    const size_t pitches[] = {copy->from.pitch, copy->to.pitch};
    for (int side = 0; side < 2; side++)
        if (pitches[side] && pitches[side] < copy->width_in_bytes) return INVALID_VALUE;
    const char *from = first_row(&copy->from);
    char *to = first_row(&copy->to);
    for (size_t row = 0; row < copy->height; row++)
        memcpy(to + row * copy->to.pitch, from + row * copy->from.pitch, copy->width_in_bytes);
    return SUCCESS;
}
