# Sourced by the sweeps in this folder: their options, with defaults for the demo model (scripts/demo.sh makes its
# bundle and vectors). The script that sources this sets `program`, `purpose` and its own defaults.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
model=${MODEL:-$root/out/demo/bundle}
steer=${STEER:-$root/out/demo/brightness.safetensors}
prompts=${PROMPTS:-$root/prompts/neutral.json}
limit=${LIMIT:-4}
seeds=${SEEDS:-0:4}
alphas=${ALPHAS:--0.3:0.3:0.15}
out=${OUT:-$root/out/sweeps/${program%.sh}}
more=()

usage() {
    cat <<TEXT
usage: scripts/sweeps/$program [--model BUNDLE] [--steer FILE] [--out FOLDER] [--prompts FILE] [--limit N]
       [--seeds LIST] [--alphas LIST] [-- FLAGS OF musicsteer sweep]

$purpose

  --model BUNDLE   [$model]
  --steer FILE     [$steer]
  --out FOLDER     folder of the sweep; the same command resumes it [$out]
  --prompts FILE   prompts to generate from [$prompts]
  --limit N        only the first N of them [$limit]
  --seeds LIST     each with every prompt [$seeds]
  --alphas LIST    strengths [$alphas]; which ones make sense depends on the model and the vector.
                   'musicsteer inspect BUNDLE' prints the range that was evaluated for each of its own directions

Each can also be set in the environment: MODEL, STEER, OUT, PROMPTS, LIMIT, SEEDS, ALPHAS. Options after --
go to musicsteer sweep, as in: scripts/sweeps/$program -- --duration 4 --dry-run

The program is \$MUSICSTEER, else build/musicsteer of this repository, else musicsteer on the PATH.
TEXT
}

fail() {
    printf '%s: %s\n' "$program" "$*" >&2
    exit 2
}

while (($#)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --)
            shift
            more=("$@")
            break
            ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --model | --steer | --out | --prompts | --limit | --seeds | --alphas)
            (($# > 1)) || fail "$1 needs a value"
            printf -v "${1#--}" '%s' "$2"
            shift 2
            ;;
        *) usage >&2 && fail "unknown option '$1'" ;;
    esac
done

musicsteer=$root/build/musicsteer
[[ -x $musicsteer ]] || musicsteer=musicsteer
musicsteer=${MUSICSTEER:-$musicsteer}
command -v "$musicsteer" >/dev/null || fail "musicsteer was not found: activate the environment that it is" \
    "installed in, or run scripts/setup.sh"

# sweep FOLDER STEER FLAGS...: the grid that all of these sweeps share, plus the caller's flags.
sweep() {
    local folder=$1 file=$2
    shift 2
    "$musicsteer" sweep --model "$model" --prompts "$prompts" --limit "$limit" --seeds "$seeds" \
        --steer "$file" --alphas="$alphas" --out "$folder" "$@" ${more[@]+"${more[@]}"}
}
