#!/usr/bin/env bash
# Which strategy? Every layer its own direction, one layer's direction in all, or in that layer alone.
set -euo pipefail
program=strategies.sh
purpose="Sweeps over strategies: per-layer, one-to-all and single. The last two use the layer with the
largest effect size."
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sweep "$out" "$steer" --strategies per-layer,one-to-all,single
