#!/bin/sh
# Runs a command on a card that a processor plays:
#
#     scripts/fakecuda/run.sh cargo test -p aaren-kernels --features cuda
#
# README.md has the settings, all of them environment variables. FAKECUDA_BUILD is where the two libraries and compiled kernels are
# kept; by default build/fakecuda below $CARGO_TARGET_DIR, or below target.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=${FAKECUDA_BUILD:-${CARGO_TARGET_DIR:-$here/../../target}/fakecuda}
mkdir -p "$build"
build=$(CDPATH='' cd -- "$build" && pwd)
for program in cc g++; do
    command -v $program >/dev/null || { echo "fakecuda: $program is missing (Debian: apt install g++)" >&2; exit 1; }
done

# Libraries and kernels are of these files: others of other files go into another folder, and the old ones go.
sources=$(cat "$here/run.sh" "$here"/driver/* "$here"/compiler/* "$here"/include/*.h "$here"/include/*/*.h | cksum | tr -d ' ')

# A card adds the product of two numbers without rounding it before; a processor does so from a certain age on, where it is told to. Else
# little is optimized: most kernels run for a shorter time than they take to compile.
if grep -q '^flags.* fma' /proc/cpuinfo 2>/dev/null && grep -q '^flags.* avx2' /proc/cpuinfo; then arch=-march=x86-64-v3; else arch=; fi
export FAKECUDA_CXX="${FAKECUDA_CXX:-g++ -std=c++17 -O1 -fexpensive-optimizations $arch -ffp-contract=fast -fno-strict-aliasing -fno-math-errno}"

if [ ! -e "$build/$sources/done" ]; then
    rm -rf "${build:?}"/[0-9]*
    mkdir -p "$build/$sources/kernels"
    cc -O2 -Wall -Wextra -Werror -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$build/$sources/libcuda.so.1" "$here"/driver/*.c -ldl -lpthread
    ln -sf libcuda.so.1 "$build/$sources/libcuda.so"
    cc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$build/$sources/libnvrtc.so" "$here"/compiler/*.c -ldl
    # The headers, read once. g++ takes them from here if its flags are the same.
    mkdir "$build/$sources/precompiled"
    $FAKECUDA_CXX -w -fPIC -x c++-header -o "$build/$sources/precompiled/cuda_runtime.h.gch" "$here/include/cuda_runtime.h" || true
    touch "$build/$sources/done"
fi

export FAKECUDA_PRECOMPILED="$build/$sources/precompiled"
export FAKECUDA_CACHE="${FAKECUDA_CACHE:-$build/$sources/kernels}" FAKECUDA_HEADERS="$here/include"
# The toolkit, for its headers: ours, unless the real compiler is to read its own.
export CUDA_PATH="${CUDA_PATH:-$here}"
# Kernels that a program keeps name libraries of this folder: not among those for a real card.
export XDG_CACHE_HOME="${FAKECUDA_PROGRAM_CACHE:-$build/$sources/cache}"
export LD_LIBRARY_PATH="$build/$sources${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$@"
