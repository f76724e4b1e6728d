#!/usr/bin/env bash
# From nothing to steered music: sets musicsteer up, and has the demo model play slower and faster, darker and brighter.
set -Eeuo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/demo.sh [--out DIR]

Sets up, exports the demo model of models/demo, extracts a tempo and a brightness direction, sweeps over five
strengths of each, prints what the clips measure, makes a page to listen to them and says where it is. Finished
steps are skipped; an interrupted run resumes.

  --out DIR  where everything goes (default: out/demo in the repository)
TEXT
}

program=demo.sh
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/steps.sh"

out=$root/out/demo
while (($#)); do
    case $1 in
        --out)
            (($# > 1)) || fail "--out needs a folder"
            out=$2
            shift
            ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && fail "unknown option '$1'" ;;
    esac
    shift
done

if [[ ! -f $root/.venv/.musicsteer-installed ]]; then
    say "the first call takes about five minutes on two cores, most of it downloading and compiling. It installs"
    say "  - Debian packages that are missing (compiler, CMake and a few small libraries), as root"
    say "  - Python packages in .venv: 1.4 GB, most of it PyTorch"
    say "  - musicsteer, which it compiles in build"
    say "then it finds two directions and generates 108 clips. It can be stopped at any time and resumed."
fi
STEP_TIMES=$(mktemp)
export STEP_TIMES
trap 'rm -f "$STEP_TIMES"' EXIT
"$root/scripts/setup.sh" --program-only || exit 1
"$root/.venv/bin/python" "$root/scripts/demo.py" --out "$out" --elapsed-s "$((SECONDS - started_s))"
