/* Whether the emulation computes what a card computes, and notices what a card does not allow: run by check.sh. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long DevicePointer;
typedef void *Handle;
int cuModuleLoadData(Handle *module, const void *image);
int cuModuleGetFunction(Handle *function, Handle module, const char *name);
int cuMemAllocAsync(DevicePointer *memory, size_t bytes, Handle stream);
int cuMemFreeAsync(DevicePointer memory, Handle stream);
int cuFuncSetAttribute(Handle function, int attribute, int value);
int cuLaunchKernel(Handle function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void **, void **);
int nvrtcCreateProgram(Handle *, const char *, const char *, int, const char *const *, const char *const *);
int nvrtcCompileProgram(Handle, int, const char *const *);
int nvrtcGetPTXSize(Handle, size_t *);
int nvrtcGetPTX(Handle, char *);
int nvrtcGetProgramLogSize(Handle, size_t *);
int nvrtcGetProgramLog(Handle, char *);

enum { LAUNCH_FAILED = 719, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, UNSUPPORTED_PTX_VERSION = 222 };

static int wrong;

static void expect(const char *what, double found, double expected) {
    /* A NaN is expected of a NaN. */
    const int is_right = found == expected || (found != found && expected != expected);
    printf("%s %s: %g%s\n", is_right ? "ok   " : "WRONG", what, found, is_right ? "" : " is not what was expected");
    wrong |= !is_right;
}

static Handle compiled(const char *body, int *result) {
    char source[8192], include[4200], architecture[64];
    snprintf(source, sizeof source,
             "#include <cuda_runtime.h>\n#include <mma.h>\n"
             "extern \"C\" __global__ void __launch_bounds__(128) check(float *out) {\n%s\n}\n",
             body);
    snprintf(include, sizeof include, "--include-path=%s/include", getenv("CUDA_PATH"));
    snprintf(architecture, sizeof architecture, "--gpu-architecture=sm_%d", (int)(10 * atof(getenv("FAKECUDA_CAPABILITY")) + 0.5));
    const char *options[] = {architecture, include};
    Handle program, module, function;
    size_t size;
    nvrtcCreateProgram(&program, source, NULL, 0, NULL, NULL);
    *result = nvrtcCompileProgram(program, 2, options);
    if (*result) {
        nvrtcGetProgramLogSize(program, &size);
        char *log = malloc(size);
        nvrtcGetProgramLog(program, log);
        printf("%s\n", log);
        return NULL;
    }
    nvrtcGetPTXSize(program, &size);
    char *ptx = malloc(size);
    nvrtcGetPTX(program, ptx);
    *result = cuModuleLoadData(&module, ptx);
    if (*result || (*result = cuModuleGetFunction(&function, module, "check"))) return NULL;
    return function;
}

static DevicePointer out;

static int launch(const char *body, unsigned threads, unsigned shared) {
    int result;
    Handle function = compiled(body, &result);
    if (!function) return result;
    void *arguments[] = {&out};
    cuFuncSetAttribute(function, 8, shared);
    return cuLaunchKernel(function, 2, 1, 1, threads, 1, 1, shared, NULL, arguments, NULL);
}

#define SHARED "extern __shared__ unsigned char dynamic_shared_mem[]; float *shared = (float *)dynamic_shared_mem;"

int main(void) {
    if (cuMemAllocAsync(&out, 4096, NULL)) return 1;
    const float *numbers = (const float *)(uintptr_t)out;

    expect("memory that nobody wrote is no number", numbers[0], 0.0 / 0.0);
    expect("a sum over lanes runs", launch("float x = threadIdx.x; for (int i = 16; i; i /= 2) x += __shfl_xor_sync(-1, x, i);"
                                           "out[blockIdx.x * 64 + threadIdx.x] = x;", 64, 0), 0);
    expect("  of the first warp", numbers[64], 31 * 16);
    expect("  of the second warp", numbers[64 + 33], 31 * 16 + 32 * 32);
    expect("a barrier of all runs", launch(SHARED "shared[threadIdx.x] = threadIdx.x; __syncthreads();"
                                           "out[threadIdx.x] = shared[127 - threadIdx.x];", 128, 512), 0);
    expect("  and all have written before it", numbers[0], 127);
    expect("  and after", numbers[127], 0);
    expect("without it this runs too", launch(SHARED "shared[threadIdx.x] = threadIdx.x; __syncwarp();"
                                              "out[threadIdx.x] = shared[127 - threadIdx.x];", 128, 512), 0);
    /* Of two numbers, one is read before it is written, whatever the order. */
    expect("  and reads what nobody wrote", numbers[0] + numbers[127], 0.0 / 0.0);
    expect("half a warp at a shuffle", launch("if (threadIdx.x < 16) out[0] = __shfl_sync(-1, 1.0f, 0); else\n"
                                              "out[1] = __shfl_sync(-1, 2.0f, 0);", 32, 0), LAUNCH_FAILED);
    expect("a lane that has left says nothing", launch("if (threadIdx.x == 3) return; float x = __shfl_sync(-1, 1.0f, 3);"
                                                       "out[threadIdx.x] = x;", 32, 0), 0);
    expect("  which is no number", numbers[0], 0.0 / 0.0);
    expect("a barrier that some never reach", launch("if (threadIdx.x < 32) __syncthreads(); else __syncwarp();", 64, 0), LAUNCH_FAILED);
    expect("a barrier in two branches", launch("if (threadIdx.x < 32) __syncthreads(); else\n__syncthreads();", 64, 0), LAUNCH_FAILED);
    expect("a write behind shared memory", launch(SHARED "shared[128] = 1; __syncthreads();", 128, 512), LAUNCH_FAILED);
    expect("more threads than the kernel is made for", launch("out[0] = 1;", 129, 0), INVALID_VALUE);
    expect("half precision", launch("out[0] = (float)(__half(2049.0f)); out[1] = (float)(__half(1.0f) + __half(0.0004f));"
                                    "out[2] = (float)__nv_bfloat16(257.0f);", 1, 0), 0);
    expect("  of 2049 has 11 bits", numbers[0], 2048);
    expect("  rounds a sum", numbers[1], 1);
    expect("  of bfloat16 has 8 bits", numbers[2], 256);
    expect("a tensor core", launch("using namespace nvcuda::wmma; fragment<matrix_a, 16, 16, 8, precision::tf32, row_major> a;"
                                   "fragment<matrix_b, 16, 16, 8, precision::tf32, row_major> b; fragment<accumulator, 16, 16, 8, float> c;"
                                   "fill_fragment(a, 1.0f + 1.0f / 4096); fill_fragment(b, 1.0f); fill_fragment(c, 0.5f);"
                                   "mma_sync(c, a, b, c); store_matrix_sync(out, c, 16, mem_row_major);", 32, 0), 0);
    expect("  loses what TF32 loses", numbers[255], 8.5);

    DevicePointer large;
    setenv("FAKECUDA_MEMORY", "1000000", 1);
    expect("a card that is full", cuMemAllocAsync(&large, 1000000, NULL), OUT_OF_MEMORY);
    expect("  and not quite", cuMemAllocAsync(&large, 900000, NULL), 0);
    setenv("FAKECUDA_DRIVER", "12.4", 1);
    expect("PTX that is newer than the driver", launch("out[0] = 1;", 1, 0), UNSUPPORTED_PTX_VERSION);
    setenv("FAKECUDA_DRIVER", "13.2", 1);
    setenv("FAKECUDA_CAPABILITY", "7.0", 1);
    expect("a card that NVRTC 13 does not know", launch("out[0] = 2;", 1, 0), 5);
    setenv("FAKECUDA_COMPILER", "12.9", 1);
    expect("  and NVRTC 12 does", launch("out[0] = 2;", 1, 0), 0);
    return wrong;
}
