// CUDA C++ for a processor: what kernels of CubeCL use of it, for g++. README.md says what is not here.
#pragma once
#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

#include "emulation/atomics.h"
#include "emulation/grid.h"
#include "emulation/numbers.h"
#include "emulation/warps.h"
