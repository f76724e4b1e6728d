#!/usr/bin/env bash
# The whole recipe at toy size, in about a minute: proves that every step runs and fits the next, not that it learns.
#
#   scripts/demo_model/smoke.sh [WORK_DIR]      default: a temporary folder
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
work="${1:-$(mktemp -d)}"
python="${PYTHON:-python3}"
export OMP_NUM_THREADS=1
mkdir -p "$work"
cd "$here"

"$python" make_data.py --out "$work/data/train" --clips 80 --seed 1
"$python" make_data.py --out "$work/data/test" --clips 40 --seed 999
"$python" train_codec.py --data "$work/data" --work-dir "$work/codec" --stage continuous --minutes 0.06 \
    --codebooks 4 --codebook-size 64 --filters 4 --latent 16 --crops 2
"$python" train_codec.py --data "$work/data" --work-dir "$work/codec" --stage decoder --minutes 0.06 \
    --codebooks 4 --codebook-size 64 --filters 4 --latent 16 --crops 2
encode() { "$python" encode_data.py --data "$work/data" --codec "$work/codec/decoder.pt" "$@"; }
encode --name test --seed 999 --clips 40
encode --name train --seed 1 --clips 60
encode --name train --seed 1 --clips 80 # adds to them
"$python" train_tokenizer.py --data "$work/data" --out "$work/tokenizer" --captions 2000
train_lm() {
    "$python" train_lm.py --data "$work/data" --codec "$work/codec/decoder.pt" --tokenizer "$work/tokenizer" \
        --width 64 --layers 2 --frames-in-batch 410 "$@"
}
train_lm --work-dir "$work/lm" --minutes 0.05
train_lm --work-dir "$work/lm" --minutes 0.08 # goes on
train_lm --work-dir "$work/annealed" --resume "$work/lm/latest.pt" --anneal 0.03
"$python" assemble.py --codec "$work/codec/decoder.pt" --lm "$work/annealed/latest.pt" \
    --tokenizer "$work/tokenizer" --out "$work/demo"
"$python" gates.py codec --model "$work/demo" --count 2
"$python" gates.py lm --model "$work/demo" --count 2
"$python" steer.py --model "$work/demo" --concept tempo --count 2 --prompts 2 --alphas=-1,0,1
echo "smoke: the recipe runs; checkpoint in $work/demo"
