#!/usr/bin/env bash
# How strong? One vector at many strengths, each layer with its own direction.
set -euo pipefail
program=strength.sh
purpose="Sweeps over the strength: how far does alpha move the music, and where does it break? The default strengths go
beyond the range that was evaluated for the demo model."
ALPHAS=${ALPHAS:--0.6:0.6:0.1}
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sweep "$out" "$steer" --strategies per-layer
