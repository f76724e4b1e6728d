#!/usr/bin/env bash
# How many prompts suffice? A direction from the first 5, 10, 25, 50 and 100 prompts a side, each swept alike.
set -euo pipefail
program=prompts-count.sh
purpose="Extracts a direction from a growing number of prompts, and sweeps over the strength of each. The folders'
unsteered clips are the same. COUNTS and CONCEPT_SET in the environment choose the numbers and the prompt set
that directions come from, EXTRACT_DURATION the length of the clips that they are extracted from."
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
