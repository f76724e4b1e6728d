#!/usr/bin/env bash
# How many prompts suffice? A direction from the first 5, 10, 25, 50 and 100 prompts a side, each with the same sweep.
set -euo pipefail
program=prompts-count.sh
purpose="Extracts a direction from a growing number of prompts, and sweeps over the strength of each. All folders have
the same unsteered clips. In the environment, COUNTS and CONCEPT_SET choose the numbers and the prompt set, and
EXTRACT_DURATION the length of the clips that directions are extracted from."
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

concept_set=${CONCEPT_SET:-$root/prompts/tempo.json}
for count in ${COUNTS:-5 10 25 50 100}; do
    file=$out/$count.safetensors
    if [[ ! -e $file ]]; then
        "$musicsteer" extract --model "$model" --prompts "$concept_set" --limit "$count" \
            --duration "${EXTRACT_DURATION:-8}" --out "$file"
    fi
    sweep "$out/$count" "$file" --strategies per-layer
done
