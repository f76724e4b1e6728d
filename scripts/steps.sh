# Sourced by setup.sh, test.sh and demo.sh: prints each step, and names the step that failed.
# The script that sources this sets `program`, its own name.

started_s=$SECONDS
current_step="starting"
current_log=""

# Prints a line with the time since the script started.
say() {
    printf '[%4d s] %s\n' "$((SECONDS - started_s))" "$*"
}

# Prints one sentence and exits.
fail() {
    trap - ERR
    printf '%s: %s\n' "$program" "$*" >&2
    exit 1
}

# step NAME: prints the name of the next step, and remembers it for the message if it fails. The time goes to the
# file $STEP_TIMES, if that is set.
step() {
    current_step=$1
    current_log=""
    say "$1"
    [[ -z ${STEP_TIMES:-} ]] || printf '%s\t%s\n' "$(date +%s)" "$1" >>"$STEP_TIMES"
}

# logged LOG COMMAND...: appends what the command prints to LOG; its last lines are shown if it fails.
logged() {
    current_log=$1
    shift
    mkdir -p "$(dirname "$current_log")"
    printf '\n$ %s\n' "$*" >>"$current_log"
    "$@" >>"$current_log" 2>&1 </dev/null
}

report_failure() {
    local code=$?
    trap - ERR
    if [[ -n $current_log && -s $current_log ]]; then
        printf '\n' >&2
        tail -n 40 "$current_log" >&2
        printf '\n%s: this step failed (exit code %d): %s. The end of its log is above, all of it in %s\n' \
            "$program" "$code" "$current_step" "$current_log" >&2
    else
        printf '%s: this step failed (exit code %d): %s\n' "$program" "$code" "$current_step" >&2
    fi
    exit 1
}
trap report_failure ERR
