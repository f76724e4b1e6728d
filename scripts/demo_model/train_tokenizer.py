"""Trains the demo model's tokenizer, a T5 (sentencepiece Unigram) one, and saves it as tokenizer.json.

    python train_tokenizer.py --data WORK/data --out WORK/tokenizer

Captions make up most of the text; general words, letters, digits and punctuation make sure that any text
falls apart into known pieces rather than <unk>.
"""

from __future__ import annotations

import argparse
import random
import string
from pathlib import Path

import sentencepiece
from captions import Captioner, general_words
from lm_data import read_songs
from music import Song
from transformers import PreTrainedTokenizerBase, T5Tokenizer

PIECES = 3000
CAPTIONS = 30_000
# Latin letters of Europe's languages, and what typesetters put between words.
ACCENTED = "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿßœāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįıĵķĺļľłńņňōŏőŕŗřśŝşšţťŧũūŭůűųŵŷźżžșț"
SIGNS = "‘’“”„«»–—…·•°©®€£¥§¿¡×♪♫"


def training_text(songs: list[Song], rng: random.Random, captions: int = CAPTIONS) -> list[str]:
    """Lines to train on."""
    captioner = Captioner()
    lines = [captioner.caption(rng.choice(songs), rng) for _ in range(captions)]
    words = general_words()
    # Short lines of general words, so often that many of them become pieces of their own.
    for _ in range(15):
        rng.shuffle(words)
        lines += [" ".join(words[i : i + 8]) for i in range(0, len(words), 8)]
    for symbol in string.ascii_lowercase + string.digits + string.punctuation + ACCENTED + SIGNS:
        lines += [f"{symbol} a{symbol} {symbol}{symbol}"] * 20
    return lines


def train_tokenizer(
    songs: list[Song], out: Path, pieces: int = PIECES, captions: int = CAPTIONS, seed: int = 3
) -> PreTrainedTokenizerBase:
    """Writes spiece.model, tokenizer.json and tokenizer_config.json to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_text(songs, random.Random(seed), captions)),
        model_prefix=str(out / "spiece"),
        model_type="unigram",
        vocab_size=pieces,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc_cf",
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece="<pad>",
        eos_piece="</s>",
        unk_piece="<unk>",
        num_threads=1,
        minloglevel=1,
    )
    # Only from_pretrained reads spiece.model; the constructor's vocab_file is ignored in transformers 5.
    tokenizer = T5Tokenizer.from_pretrained(out, extra_ids=0)
    tokenizer.save_pretrained(out)
    return tokenizer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pieces", type=int, default=PIECES)
    parser.add_argument("--captions", type=int, default=CAPTIONS, help="captions to learn from")
    arguments = parser.parse_args()
    train_tokenizer(
        read_songs(arguments.data / "train_songs.jsonl"), arguments.out, arguments.pieces, arguments.captions
    )
