#!/usr/bin/env bash
# Which layer? Each layer alone with its own direction, and all of them together.
set -euo pipefail
program=layers.sh
purpose="Sweeps over layers: which of them steer when they are steered alone, and what do all do together?"
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sweep "$out" "$steer" --strategies single,per-layer --layers all
