/* What the files of the compiler share. */
#ifndef FAKECUDA_COMPILER_H
#define FAKECUDA_COMPILER_H

#include <stddef.h>

/* One source, as nvrtcCreateProgram is given it. */
typedef struct {
    char *source;
    /* The kernel's, the only one. */
    char *name;
    /* What has come of it. */
    char *ptx, *log;
    /* The same program in the real NVRTC, or null. */
    void *real;
} Program;

const char *setting(const char *name, const char *otherwise);

/* Compiles for the processor, with the headers of the folders that the options name: the path of the library, or null and a log. */
char *compile_for_processor(Program *program, int count, const char *const *options);

/* The real NVRTC of FAKECUDA_NVRTC, or null. */
void *real_nvrtc(void);
/* Has it compile the program, and takes its PTX and its log; an nvrtcResult. */
int compile_by_real_nvrtc(Program *program, int count, const char *const *options);

#endif
