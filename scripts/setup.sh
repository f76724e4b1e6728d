#!/usr/bin/env bash
# Sets up musicsteer on Debian or Ubuntu: system packages, Python environment, LibTorch, build.
# Steps that are done are skipped, so a second run takes a second or two.
set -Eeuo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/setup.sh [--no-build | --program-only] [--browser] [--cluster]

Installs what is missing, and musicsteer itself into .venv, as `pip install .` does. The program is compiled in
build/, where the tests' programs are too. Needs Python 3.10 to 3.13 with pip, and git.

  --no-build      only the system packages and what the tests need of Python, without musicsteer
  --program-only  only musicsteer and what it needs, not the tests and what they need
  --browser       also install Chromium and its driver, for the tests of the listening report
  --cluster       also install Ray and SLURM, for the tests of `musicsteer cluster`
TEXT
}

program=setup.sh
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/steps.sh"

torch_version=2.13.0+cpu
torch_index=https://download.pytorch.org/whl/cpu
# The libraries that CMake looks for.
mapfile -t header_packages < <(sed -nE 's/^needs(_module)?\(([a-z0-9-]+) .*/\2/p' "$root/cmake/dependencies.cmake")
venv=$root/.venv
build=$root/build
log=$build/setup.log

needs_program=true
needs_tests=true
needs_browser=false
needs_cluster=false
while (($#)); do
    case $1 in
        --no-build) needs_program=false ;;
        --program-only) needs_tests=false ;;
        --browser) needs_browser=true ;;
        --cluster) needs_cluster=true ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && fail "unknown option '$1'" ;;
    esac
    shift
done

# An environment breaks if its folder moves. A working one is kept, whichever Python is first in PATH.
venv_works() {
    [[ -x $venv/bin/python && $(cat "$venv/.made-for" 2>/dev/null || echo "$root") == "$root" ]] &&
        supported "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Sets `python` to the interpreter for the environment; empty if that exists.
find_python() {
    local candidate
    python=""
    ! venv_works || return 0
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        candidate=$(command -v "$candidate" || true)
        if [[ -n $candidate && $candidate != "$venv"/* ]] && supported "$candidate"; then
            python=$candidate
            return
        fi
    done
    fail "no Python from 3.10 to 3.13 found (torch ${torch_version%+*} supports only these): install one, such as python3.12"
}

is_installed() {
    [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ?i* ]]
}

# Prints the Debian packages that are missing.
missing_packages() {
    local package
    for package in "${header_packages[@]}"; do
        is_installed "$package" || echo "$package"
    done
    command -v ninja >/dev/null || echo ninja-build
    command -v cmake >/dev/null || echo cmake
    if $needs_tests; then
        for package in libgtest-dev libgmock-dev; do
            is_installed "$package" || echo "$package"
        done
        command -v ffmpeg >/dev/null || echo ffmpeg # the tests compare loudness
    fi
    if $needs_browser; then
        command -v chromium >/dev/null || command -v google-chrome >/dev/null || echo chromium
        command -v chromedriver >/dev/null || echo chromium-driver
    fi
    if $needs_cluster; then
        for package in slurmctld slurmd slurm-client munge; do
            is_installed "$package" || echo "$package"
        done
    fi
    [[ -n ${CXX:-} ]] || command -v g++ >/dev/null || echo g++
    if [[ -n $python ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))'
    fi
}

install_packages() {
    local packages as_root=()
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]})) || return 0
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "these packages are missing, and installing them needs root: ${packages[*]}"
        # Without a terminal nobody can type a password, so fail instead of waiting.
        as_root=(sudo)
        [[ -t 2 ]] || as_root=(sudo -n)
    fi
    step "installing system packages: ${packages[*]}"
    logged "$log" "${as_root[@]}" apt-get update
    logged "$log" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "${packages[@]}"
}

make_venv() {
    [[ -n $python ]] || return 0
    step "creating the Python environment .venv with $python"
    logged "$log" "$python" -m venv --clear "$venv"
    echo "$root" >"$venv/.made-for"
}

has_torch() {
    [[ $("$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null) == "$torch_version" ]]
}

# The plain package is the CUDA build, which is gigabytes larger and whose CMake files need a CUDA toolkit.
install_torch() {
    if ! has_torch; then
        step "installing torch $torch_version"
        if ! logged "$log" "$venv/bin/python" -m pip install "torch==$torch_version"; then
            logged "$log" "$venv/bin/python" -m pip install "torch==$torch_version" --index-url "$torch_index"
        fi
    fi
}

# The package's build backend (pyproject.toml), which is also among the tests' requirements.
install_build_tool() {
    if ! "$venv/bin/python" -c 'import scikit_build_core' 2>/dev/null; then
        logged "$log" "$venv/bin/python" -m pip install "$(grep '^scikit-build-core' "$root/requirements.txt")"
    fi
}

# install_requirements FILE STAMP: the packages of FILE, unless STAMP in the environment says that they are installed.
install_requirements() {
    local file=$1 stamp=$venv/$2 key
    key=$(sha256sum <"$root/$file")
    if [[ ! -f $stamp || $(<"$stamp") != "$key" ]]; then
        step "installing the Python packages of $file"
        # torch is named again so that no dependency replaces it.
        logged "$log" "$venv/bin/python" -m pip install -r "$root/$file" "torch==$torch_version"
        echo "$key" >"$stamp"
    fi
}

# Files that include LibTorch take about 1.5 GB each to compile.
build_jobs() {
    local cores available_kb by_memory
    cores=$(nproc)
    available_kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    by_memory=$((available_kb / (2 * 1024 * 1024)))
    ((by_memory >= 1)) || by_memory=1
    echo $((cores < by_memory ? cores : by_memory))
}

# `pip install .` with the torch of .venv and in build/, so that the next call reuses the object files. Skipped if no
# file has changed.
install_package() {
    local stamp=$venv/.musicsteer-installed cache=$build/CMakeCache.txt jobs tests=OFF
    # Once configured, tests stay configured: switching would recompile what program and tests share.
    if $needs_tests || grep -qxF MUSICSTEER_BUILD_TESTS:BOOL=ON "$cache" 2>/dev/null; then
        tests=ON
    fi
    if [[ -f $cache ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache"; then
        rm -rf "$cache" "$build/CMakeFiles" "$build/build.ninja" # the repository has moved
    fi
    jobs=$(build_jobs)
    if [[ ! -f $stamp || ! -f $build/build.ninja ]] || ! grep -qxF "MUSICSTEER_BUILD_TESTS:BOOL=$tests" "$cache" ||
        [[ -n $(cd "$root" && find CMakeLists.txt pyproject.toml cmake include src prompts models \
            -name __pycache__ -prune -o -newer "$stamp" -type f -print -quit) ]]; then
        step "compiling and installing musicsteer, $jobs compilers at a time (a few minutes the first time)"
        CMAKE_BUILD_PARALLEL_LEVEL=$jobs logged "$log" "$venv/bin/python" -m pip install --no-build-isolation \
            --config-settings=build-dir="$build" --config-settings=cmake.define.MUSICSTEER_BUILD_TESTS="$tests" \
            --config-settings=cmake.define.MUSICSTEER_WHEEL=OFF "$root" "torch==$torch_version"
        touch "$stamp"
    fi
    # `ninja -n` says whether there is work to do, so that no step is announced without need.
    if $needs_tests && ! ninja -C "$build" -n | grep 'no work to do' >/dev/null; then
        step "compiling the tests"
        logged "$log" ninja -C "$build" -j "$jobs"
    fi
}

mkdir -p "$build" 2>/dev/null || fail "cannot write to $root"
# Two setups at once would write the same files: the second waits for the first.
exec 9<"$root"
flock 9
{ : >"$log"; } 2>/dev/null || fail "cannot write to $log"

find_python
if command -v dpkg-query >/dev/null; then
    install_packages
else
    say "no dpkg-query here: install the libraries by hand (docs/install.md)"
fi
make_venv
install_torch
if $needs_tests; then
    install_requirements requirements.txt .requirements-installed
else
    install_build_tool
fi
if $needs_cluster; then
    install_requirements src/python/musicsteer/cluster/requirements.txt .cluster-requirements-installed
fi
if $needs_program; then
    install_package
fi
exec 9<&-
say "set up"
