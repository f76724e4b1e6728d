#!/usr/bin/env bash
# From nothing to steered music: sets musicsteer up, and has the demo model play slower and faster, darker and brighter.
set -Eeuo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/demo.sh [--out DIR]

Sets up, exports the demo model of models/demo, extracts a tempo and a brightness direction, sweeps over five
strengths of each, prints what the clips measure, makes a page to listen to them and says where it is. What is
done already is not done again; a call that was stopped goes on.

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
    say "the first call takes about ten minutes on two cores: it installs what is missing of Debian's packages, 1.4 GB"
    say "of Python packages in .venv, and the program, which it compiles; then it generates clips"
fi
"$root/scripts/setup.sh" --program-only || exit 1
exec "$root/.venv/bin/python" "$root/scripts/demo.py" --out "$out" --elapsed-s "$((SECONDS - started_s))"
