#!/usr/bin/env bash
# Builds the wheel out of build/, installs it into an environment that has nothing else, and goes from the demo
# checkpoint to a steered clip with it, outside this repository.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Shows what a command printed only if it failed.
quietly() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" && return 1; }
}

fail() {
    echo "wheel.sh: $*" >&2
    exit 1
}

python=$root/.venv/bin/python
# The object files of build/ fit, for what they are compiled with is the same; the program's run path is not.
quietly "$python" -m pip wheel --no-build-isolation --no-deps --config-settings=build-dir="$root/build" \
    --config-settings=cmake.define.MUSICSTEER_BUILD_TESTS=ON --wheel-dir "$work" "$root"
quietly cmake -DMUSICSTEER_WHEEL=OFF "$root/build" # as scripts/setup.sh has it
quietly "$python" -m venv "$work/env"
torch=$("$python" -c 'from importlib.metadata import version; print(version("torch"))')
quietly "$work/env/bin/python" -m pip install "$work"/musicsteer-*.whl "torch==$torch"

cd "$work"
export PATH=$work/env/bin:/usr/bin:/bin
unset PYTHONPATH MUSICSTEER
program=$(echo env/lib/python3*/site-packages/musicsteer/bin/musicsteer)
ldd "$program" | grep libtorch_cpu.so | grep " $work/env/" >/dev/null || fail "the program has another LibTorch than the environment's"
if readelf -d "$program" | grep -E 'R(UN)?PATH' | grep -F "$root" >/dev/null; then
    fail "the wheel's program knows of this repository"
fi
musicsteer --version
quietly musicsteer export demo bundle
quietly musicsteer extract --model bundle --prompts tempo --limit 2 --duration 0.4 --out tempo.safetensors
quietly musicsteer generate --model bundle --prompt "solo piano" --duration 1 --steer tempo.safetensors:alpha=0.3 --out fast.wav
[[ -s fast.wav ]] || fail "no clip"
for command in check report import cluster; do # grep -q would close the pipe while help is still written
    musicsteer help "$command" | grep "usage: musicsteer $command" >/dev/null || fail "no help of $command"
done
