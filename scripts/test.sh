#!/usr/bin/env bash
# Sets musicsteer up and runs its tests: style, C++ unit tests (ctest), Python and command-line tests (pytest).
set -Eeuo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/test.sh [--all]

Sets up as scripts/setup.sh does, then runs every test that an ordinary machine can. One failure fails the
whole, but the rest still runs.

  --all  also what takes longer or needs more: a program that finds the installed library with find_package,
         the wheel in a fresh environment, the listening report in Chromium, and sweeps on SLURM and Ray, all of
         them installed if they are missing
TEXT
}

program=test.sh
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/steps.sh"

everything=false
while (($#)); do
    case $1 in
        --all) everything=true ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && fail "unknown option '$1'" ;;
    esac
    shift
done

failed=()

# check NAME COMMAND...: runs it with its output shown, and remembers a failure.
check() {
    local name=$1
    shift
    step "$name"
    if ! "$@" </dev/null; then
        failed+=("$name")
        say "FAILED: $name"
    fi
}

cpp_files() {
    find include src tests -name '*.[ch]pp' -print0
}

# Their own output goes to the terminal and to a file, for the summary at the end.
run_ctest() {
    ctest --test-dir build --output-on-failure --no-tests=error -j "$(nproc)" 2>&1 | tee build/ctest.log
}

if $everything; then
    "$root/scripts/setup.sh" --browser --cluster
    # With this, a test that lacks its browser or cluster fails instead of being skipped.
    export MUSICSTEER_TEST_ALL=1
else
    "$root/scripts/setup.sh"
fi
cd "$root"
export PATH="$root/.venv/bin:$PATH"
export MUSICSTEER="$root/build/musicsteer"

check "style of Python files: ruff check" ruff check .
check "layout of Python files: ruff format" ruff format --check .
check "layout of C++ files: clang-format" xargs -0 -a <(cpp_files) clang-format --dry-run -Werror
if $everything; then
    check "the installed library: tests/package/run.sh" tests/package/run.sh
    check "the wheel in a fresh environment: tests/package/wheel.sh" tests/package/wheel.sh
fi
check "C++ unit tests: ctest" run_ctest
# Each file in one process, so that its fixtures are made once; the programs that they start use one thread. In the
# order of folders, short files are last, so that no process waits for another at the end.
check "Python tests: pytest" python -m pytest -n "$(nproc)" --dist loadfile --no-loadscope-reorder

if ((${#failed[@]})); then
    say "failed: $(printf '%s; ' "${failed[@]}")"
fi
# ctest's summary again, so that the summaries of both runners are at the end.
grep -E '^[0-9]+% tests passed|^Total Test time' build/ctest.log || true
((${#failed[@]} == 0)) || exit 1
