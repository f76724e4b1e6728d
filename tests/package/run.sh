#!/usr/bin/env bash
# Installs build/ into an empty folder, builds the program here against it, and runs both programs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Shows what a command printed only if it failed.
quietly() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" && return 1; }
}

torch=$(sed -n 's/^Torch_DIR:PATH=//p' "$root/build/CMakeCache.txt")
quietly cmake --install "$root/build" --prefix "$work/prefix"
quietly cmake -S "$here" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    "-DCMAKE_PREFIX_PATH=$work/prefix" "-DTorch_DIR=$torch"
quietly cmake --build "$work/build"
"$work/prefix/bin/musicsteer" --version
"$work/build/consumer" "$root/prompts/tempo.json" "$work"
