#!/usr/bin/env bash
# Builds the kernels for 64-bit ARM and runs their tests in QEMU, on any machine with Debian's packages.
set -Eeuo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/test_aarch64.sh [FOLDER]

Compiles src/kernels with its unit tests for aarch64 and runs them under qemu-user. FOLDER (build/aarch64) keeps
what is downloaded (PyTorch's wheel for aarch64, 430 MB) and built. Needs .venv, which scripts/setup.sh makes.
TEXT
}

program=test_aarch64.sh
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/steps.sh"
case ${1:-} in
    -*) usage && exit 0 ;;
esac
work=${1:-$root/build/aarch64}
mkdir -p "$work/objects"
work=$(cd "$work" && pwd)
log=$work/log
cd "$root"

for package in g++-aarch64-linux-gnu qemu-user libgtest-dev; do
    dpkg-query -W "$package" >/dev/null 2>&1 || missing+=("$package")
done
[[ -z ${missing:-} ]] || fail "these packages are missing: apt-get install ${missing[*]}"

version=$(.venv/bin/python -c 'import torch; print(torch.__version__.split("+")[0])')
if [[ ! -e $work/libraries ]]; then
    step "downloading PyTorch $version for aarch64"
    # The wheel is the CUDA build, whose libtorch_cpu does not load without these two.
    logged "$log" .venv/bin/pip download --no-deps --only-binary=:all: --dest "$work" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_25_aarch64 --platform manylinux2014_aarch64 \
        "torch==$version" 'nvidia-cuda-runtime==13.*' nvidia-cuda-cupti
    mkdir "$work/partial"
    for wheel in "$work"/*aarch64*.whl; do
        logged "$log" .venv/bin/python -m zipfile -e "$wheel" "$work/partial"
    done
    mv "$work/partial" "$work/libraries"
fi
mapfile -t folders < <(find "$work/libraries" -name '*.so*' -printf '%h\n' | sort -u)

step "compiling the kernels and their tests"
include=$(.venv/bin/python -c 'import torch.utils.cpp_extension as e; print(*e.include_paths())')
compile=(aarch64-linux-gnu-g++ -std=c++20 -O2 -ffp-contract=off -fopenmp -Wno-psabi -DAT_PARALLEL_OPENMP=1
    -Iinclude -Isrc -I/usr/src/googletest/googletest -isystem /usr/src/googletest/googletest/include)
for folder in $include; do
    compile+=(-isystem "$folder")
done
shopt -s extglob
for source in src/kernels/*.cpp src/base/!(logging).cpp tests/unit/kernels/*.cpp \
    /usr/src/googletest/googletest/src/gtest-all.cc /usr/src/googletest/googletest/src/gtest_main.cc; do
    object=$work/objects/$(basename "$source").o
    [[ $object -nt $source ]] || logged "$log" "${compile[@]}" -c "$source" -o "$object"
done
torch=$work/libraries/torch/lib
logged "$log" "${compile[@]}" "$work"/objects/*.o -o "$work/kernels_test" -L"$torch" -ltorch_cpu -lc10 \
    -Wl,--unresolved-symbols=ignore-in-shared-libs -Wl,-rpath-link,"$torch"

# LibTorch asks the system about the processor, and crashes on an answer about another kind: QEMU looks for files
# below its prefix (-L) first.
prefix=$work/prefix
identification=$prefix/sys/devices/system/cpu/cpu0/regs/identification
mkdir -p "$prefix/proc" "$identification"
ln -sfn /usr/aarch64-linux-gnu/lib "$prefix/lib"
printf '0x00000000413fd0c1\n' >"$identification/midr_el1" # Arm Neoverse N1
for list in possible present online; do
    printf '0\n' >"$prefix/sys/devices/system/cpu/$list"
done
cat >"$prefix/proc/cpuinfo" <<'TEXT'
processor	: 0
Features	: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x3
CPU part	: 0xd0c
CPU revision	: 1
TEXT

step "running them"
path=$(IFS=:; printf '%s' "${folders[*]}")
qemu-aarch64 -cpu neoverse-n1 -L "$prefix" -E LD_LIBRARY_PATH="$path" "$work/kernels_test" --gtest_brief=1
