/* Contexts, streams and events: whatever is asked for has been done when a call returns, so that there is nothing to wait for. */
#include "card.h"

#include <stdlib.h>
#include <time.h>

static int the_context;

Result cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    *context = &the_context;
    return SUCCESS;
}

Result cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    return SUCCESS;
}

Result cuCtxSetCurrent(void *context) {
    (void)context;
    return SUCCESS;
}

Result cuCtxGetCurrent(void **context) {
    *context = &the_context;
    return SUCCESS;
}

Result cuCtxSynchronize(void) { return SUCCESS; }

Result cuStreamCreate(void **stream, unsigned flags) {
    (void)flags;
    *stream = malloc(1);
    return *stream ? SUCCESS : OUT_OF_MEMORY;
}

Result cuStreamDestroy_v2(void *stream) {
    free(stream);
    return SUCCESS;
}

Result cuStreamSynchronize(void *stream) {
    (void)stream;
    return SUCCESS;
}

Result cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    (void)stream, (void)event, (void)flags;
    return SUCCESS;
}

Result cuEventCreate(void **event, unsigned flags) {
    (void)flags;
    *event = calloc(1, sizeof(struct timespec));
    return *event ? SUCCESS : OUT_OF_MEMORY;
}

Result cuEventRecord(void *event, void *stream) {
    (void)stream;
    clock_gettime(CLOCK_MONOTONIC, event);
    return SUCCESS;
}

Result cuEventQuery(void *event) {
    (void)event;
    return SUCCESS;
}

Result cuEventSynchronize(void *event) {
    (void)event;
    return SUCCESS;
}

Result cuEventDestroy_v2(void *event) {
    free(event);
    return SUCCESS;
}

Result cuEventElapsedTime(float *milliseconds, void *from, void *to) {
    struct timespec *a = from, *b = to;
    *milliseconds = (b->tv_sec - a->tv_sec) * 1e3f + (b->tv_nsec - a->tv_nsec) * 1e-6f;
    return SUCCESS;
}

Result cuEventElapsedTime_v2(float *milliseconds, void *from, void *to) { return cuEventElapsedTime(milliseconds, from, to); }
