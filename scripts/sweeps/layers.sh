#!/usr/bin/env bash
# Which layer? Each layer alone with its own direction, and all of them together.
set -euo pipefail
program=layers.sh
purpose="Sweeps over layers: what does each layer do alone, and what do all of them do together?"
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sweep "$out" "$steer" --strategies single,per-layer --layers all
