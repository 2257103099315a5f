/* The real NVRTC behind this one, where its wheels are installed: it says whether a card's compiler takes a source too. */
#define _GNU_SOURCE
#include "compiler.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *real_nvrtc(void) {
    static void *library;
    static int is_known;
    if (!is_known) {
        is_known = 1;
        const char *path = setting("FAKECUDA_NVRTC", NULL);
        if (path && !(library = dlopen(path, RTLD_NOW | RTLD_LOCAL))) {
            fprintf(stderr, "fakecuda: %s\n", dlerror());
            abort();
        }
    }
    return library;
}

typedef int Call();

static Call *real(const char *name) {
    Call *call = (Call *)dlsym(real_nvrtc(), name);
    if (!call) {
        fprintf(stderr, "fakecuda: %s has no %s\n", setting("FAKECUDA_NVRTC", ""), name);
        abort();
    }
    return call;
}

static char *text_of(void *program, const char *size_of, const char *get) {
    size_t size = 0;
    real(size_of)(program, &size);
    char *text = calloc(1, size + 1);
    real(get)(program, text);
    return text;
}

/* Compiles for the architectures of FAKECUDA_ARCHITECTURES too ("sm_80 sm_120a"), and only looks at whether that works. */
static int compile_for_others(Program *program, int count, const char *const *options) {
    char *names = strdup(setting("FAKECUDA_ARCHITECTURES", "")), *rest = names;
    int result = 0;
    for (char *name; !result && (name = strtok_r(rest, " ", &rest));) {
        void *other = NULL;
        char architecture[64];
        const char *changed[16];
        snprintf(architecture, sizeof architecture, "--gpu-architecture=%s", name);
        for (int i = 0; i < count && i < 16; i++) changed[i] = strncmp(options[i], "--gpu", 5) ? options[i] : architecture;
        real("nvrtcCreateProgram")(&other, program->source, NULL, 0, NULL, NULL);
        result = real("nvrtcCompileProgram")(other, count < 16 ? count : 16, changed);
        if (result) {
            free(program->log);
            program->log = text_of(other, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
            fprintf(stderr, "fakecuda: NVRTC does not compile %s for %s\n", program->name, name);
        }
        real("nvrtcDestroyProgram")(&other);
    }
    free(names);
    return result;
}

int compile_by_real_nvrtc(Program *program, int count, const char *const *options) {
    if (!program->real) real("nvrtcCreateProgram")(&program->real, program->source, NULL, 0, NULL, NULL);
    int result = real("nvrtcCompileProgram")(program->real, count, options);
    program->log = text_of(program->real, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
    if (!result) program->ptx = text_of(program->real, "nvrtcGetPTXSize", "nvrtcGetPTX");
    return result ? result : compile_for_others(program, count, options);
}
