/* What stands for NVRTC (libnvrtc.so): every source is compiled for the processor, and by the real NVRTC first where there is one.
 * The PTX that comes of it names the kernel's library; ../driver runs that. */
#define _GNU_SOURCE
#include "compiler.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* nvrtcResult. */
enum { SUCCESS = 0, OUT_OF_MEMORY = 1, INVALID_OPTION = 5, COMPILATION = 6 };

const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

int nvrtcVersion(int *major, int *minor) {
    *major = *minor = 0;
    sscanf(setting("FAKECUDA_COMPILER", "13.2"), "%d.%d", major, minor);
    return SUCCESS;
}

/* Those of NVRTC 12 and 13: the older of the two has older ones too. */
static int architectures(int *into) {
    static const int ALL[] = {50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 120};
    int major, minor, count = 0;
    nvrtcVersion(&major, &minor);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        if (ALL[i] < (major >= 13 ? 75 : 50)) continue;
        if (into) into[count] = ALL[i];
        count++;
    }
    return count;
}

int nvrtcGetNumSupportedArchs(int *count) {
    *count = architectures(NULL);
    return SUCCESS;
}

int nvrtcGetSupportedArchs(int *into) {
    architectures(into);
    return SUCCESS;
}

const char *nvrtcGetErrorString(int result) {
    switch (result) {
    case SUCCESS: return "NVRTC_SUCCESS";
    case OUT_OF_MEMORY: return "NVRTC_ERROR_OUT_OF_MEMORY";
    case INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    case COMPILATION: return "NVRTC_ERROR_COMPILATION";
    default: return "NVRTC_ERROR_UNKNOWN";
    }
}

/* The name after `__global__ void`, behind attributes in parentheses: `__launch_bounds__(256)` and the like. */
static char *name_of_kernel(const char *source) {
    static const char BEGIN[] = "__global__ void", BLANK[] = " \t\n";
    const char *at = strstr(source, BEGIN);
    if (!at) return strdup("nothing");
    at += strlen(BEGIN);
    at += strspn(at, BLANK);
    for (;;) {
        const size_t length = strcspn(at, " \t\n(");
        if (strncmp(at, "__", 2)) return strndup(at, length);
        const char *end = strchr(at, ')');
        if (!end) return strdup("nothing");
        at = end + 1;
        at += strspn(at, BLANK);
    }
}

int nvrtcCreateProgram(Program **program, const char *source, const char *name, int count, const char *const *headers,
                       const char *const *names) {
    (void)name, (void)count, (void)headers, (void)names;
    *program = calloc(1, sizeof **program);
    if (!*program) return OUT_OF_MEMORY;
    (*program)->source = strdup(source);
    (*program)->name = name_of_kernel(source);
    return SUCCESS;
}

int nvrtcDestroyProgram(Program **program) {
    free((*program)->source), free((*program)->name), free((*program)->ptx), free((*program)->log), free(*program);
    *program = NULL;
    return SUCCESS;
}

/* "sm_90a" as 90, and 0 where no option says it. */
static int architecture(int count, const char *const *options) {
    for (int i = 0; i < count; i++) {
        const char *at = strstr(options[i], "sm_");
        if (at) return atoi(at + 3);
    }
    return 0;
}

static int is_supported(int wanted) {
    int known[64];
    for (int i = architectures(known) - 1; i >= 0; i--)
        if (known[i] == wanted) return 1;
    return wanted == 0;
}

/* PTX's version is that of the release: a driver that is older refuses it. */
static char *empty_ptx(const Program *program, int target) {
    int major, minor;
    nvrtcVersion(&major, &minor);
    const char *bounds = strstr(program->source, "__launch_bounds__(");
    const int threads = bounds ? atoi(bounds + strlen("__launch_bounds__(")) : 1024;
    char *ptx = NULL;
    const int written = asprintf(&ptx, ".version %d.%d\n.target sm_%d\n.visible .entry %s(\n)\n.maxntid %d\n", major - 4,
                                 major >= 13 || minor < 6 ? minor : minor - 1, target, program->name, threads);
    return written < 0 ? NULL : ptx;
}

static void note_compilation(const Program *program, int result, double seconds) {
    const char *path = setting("FAKECUDA_LOG", NULL);
    FILE *log = path ? fopen(path, "a") : NULL;
    if (!log) return;
    fprintf(log, "COMPILE %s result=%d seconds=%.2f\n", program->name, result, seconds);
    fclose(log);
}

int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    const int target = architecture(count, options);
    int result = SUCCESS;
    if (real_nvrtc()) {
        result = compile_by_real_nvrtc(program, count, options);
    } else if (!is_supported(target)) {
        program->log = strdup("nvrtc: error: invalid value for --gpu-architecture (-arch)\n");
        result = INVALID_OPTION;
    } else {
        program->ptx = empty_ptx(program, target);
    }
    if (!result) {
        char *library = compile_for_processor(program, count, options), *ptx = NULL;
        result = library ? SUCCESS : COMPILATION;
        if (library && asprintf(&ptx, "%s\n//FAKECUDA_KERNEL %s\n", program->ptx, library) < 0) return OUT_OF_MEMORY;
        free(program->ptx), free(library);
        program->ptx = ptx;
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    note_compilation(program, result, after.tv_sec - before.tv_sec + (after.tv_nsec - before.tv_nsec) * 1e-9);
    return result;
}

static const char *text(const char *text) { return text ? text : ""; }

int nvrtcGetProgramLogSize(const Program *program, size_t *size) {
    *size = strlen(text(program->log)) + 1;
    return SUCCESS;
}

int nvrtcGetProgramLog(const Program *program, char *log) {
    strcpy(log, text(program->log));
    return SUCCESS;
}

int nvrtcGetPTXSize(const Program *program, size_t *size) {
    *size = strlen(text(program->ptx)) + 1;
    return SUCCESS;
}

int nvrtcGetPTX(const Program *program, char *ptx) {
    strcpy(ptx, text(program->ptx));
    return SUCCESS;
}
