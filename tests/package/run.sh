#!/usr/bin/env bash
# Installs build/ into an empty folder, builds the program here against it, and runs both programs: a direction
# of the demo model by the one, a clip that it steers by the other.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Shows what a command printed only if it failed.
quietly() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" && return 1; }
}

torch=$("$root/.venv/bin/python" -c 'from importlib.util import find_spec as f; print(*f("torch").submodule_search_locations)')
quietly cmake --install "$root/build" --prefix "$work/prefix"
quietly cmake -S "$here" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    "-DCMAKE_PREFIX_PATH=$work/prefix;$torch"
quietly cmake --build "$work/build"
quietly "$root/build/musicsteer" export "$root/models/demo" "$work/demo"
quietly "$work/prefix/bin/musicsteer" extract --model "$work/demo" --prompts "$root/prompts/brightness.json" \
    --limit 2 --duration 0.4 --out "$work/bright.safetensors"
"$work/build/steer" "$work/demo" "$work/bright.safetensors" "$work/steered.wav"
quietly "$work/prefix/bin/musicsteer" generate --model "$work/demo" --prompt "solo piano" --seeds 7 --duration 1 \
    --steer "$work/bright.safetensors:alpha=0.3:layers=all" --out "$work/by-the-program.wav"
cmp "$work/steered.wav" "$work/by-the-program.wav"
