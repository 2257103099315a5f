/* Compiling a kernel for the processor, with g++ and the headers of ../include. What has been compiled once is kept. */
#define _GNU_SOURCE
#include "compiler.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FNV-1a. */
static uint64_t hash_of(const char *text, uint64_t hash) {
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    char *text = NULL;
    size_t length = 0;
    if (getdelim(&text, &length, '\0', file) < 0) free(text), text = NULL;
    fclose(file);
    return text;
}

static int write_source(const Program *program, const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) return 0;
    const char *source = program->source;
    const int is_together = strstr(source, "__sync") || strstr(source, "_sync(");
    /* `extern __shared__ ... dynamic_shared_mem[]` in the kernel is this array. */
    const int is_sharing = strstr(source, "extern __shared__") != NULL;
    fprintf(file, "%s\n", source);
    if (is_sharing) fprintf(file, "alignas(1024) unsigned char dynamic_shared_mem[emulated::MOST_SHARED + emulated::BEHIND];\n");
    fprintf(file, "EMULATED_KERNEL(%s, %s, %s)\n", program->name, is_sharing ? "dynamic_shared_mem" : "nullptr",
            is_together ? "true" : "false");
    return fclose(file) == 0;
}

char *compile_for_processor(Program *program, int count, const char *const *options) {
    const char *cache = setting("FAKECUDA_CACHE", "."), *compiler = setting("FAKECUDA_CXX", "g++ -std=c++17 -O2");
    char includes[8192] = "";
    /* The real NVRTC has the toolkit's own headers; alone, this is given ours where it would be given those. */
    if (real_nvrtc()) {
        snprintf(includes, sizeof includes, " -I'%s'", setting("FAKECUDA_HEADERS", "."));
    } else {
        for (int i = 0; i < count; i++) {
            const char *folder = strstr(options[i], "--include-path=");
            size_t length = strlen(includes);
            if (folder) snprintf(includes + length, sizeof includes - length, " -I'%s'", folder + strlen("--include-path="));
        }
    }
    /* The same headers, read before. */
    char precompiled[4200] = "";
    if (strstr(includes, setting("FAKECUDA_HEADERS", "?")))
        snprintf(precompiled, sizeof precompiled, " -I'%s'", setting("FAKECUDA_PRECOMPILED", "."));
    char name[64], source[4200], library[4200], log[4200], command[48000];
    const uint64_t hash = hash_of(includes, hash_of(compiler, hash_of(program->source, 14695981039346656037u)));
    snprintf(name, sizeof name, "%016llx", (unsigned long long)hash);
    snprintf(library, sizeof library, "%s/%s.so", cache, name);
    if (!access(library, R_OK)) return strdup(library);
    snprintf(source, sizeof source, "%s/%s.%d.cpp", cache, name, getpid());
    snprintf(log, sizeof log, "%s/%s.%d.log", cache, name, getpid());
    if (!write_source(program, source)) {
        if (asprintf(&program->log, "%s cannot be written", source) < 0) abort();
        return NULL;
    }
    /* Under a name of its own first: another process may be compiling the same. */
    snprintf(command, sizeof command, "%s -w -fPIC -shared%s%s -o '%s.%d' '%s' 2>'%s' && mv '%s.%d' '%s'", compiler, precompiled, includes,
             library, getpid(), source, log, library, getpid(), library);
    const int failed = system(command);
    if (failed) {
        char *said = read_file(log);
        if (asprintf(&program->log, "g++ does not compile it\n%s", said ? said : "") < 0) abort();
        free(said);
        fprintf(stderr, "fakecuda: g++ does not compile %s, which is kept as %s\n", program->name, source);
    } else if (!getenv("FAKECUDA_KEEP")) {
        unlink(source);
    }
    unlink(log);
    return failed ? NULL : strdup(library);
}
