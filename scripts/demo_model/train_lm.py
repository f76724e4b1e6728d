"""Trains text encoder and decoder of the demo model on encoded clips.

    python train_lm.py --data WORK/data --codec WORK/codec/decoder.pt --tokenizer WORK/tokenizer \\
        --work-dir WORK/lm --minutes 150
    python train_lm.py ... --work-dir WORK/annealed --resume WORK/lm/latest.pt --anneal 20

The learning rate is constant for `--minutes` and then falls to zero over `--anneal` more. Annealing makes a
model good, and unfit for more training: so it is a branch in a folder of its own, from a checkpoint that
stays as it is and can be trained on. Either run, cut off, goes on from its latest.pt when started again.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import torch.nn.functional as F
from codec import load_checkpoint
from lm import build_model, delay, logits_of, matrices, text_states
from lm_data import ATTRIBUTES, Batch, Clips
from music import FRAMES
from optimiser import TeamOptimiser, fastest_type
from parallel import Team
from torch import Tensor, nn
from transformers import T5TokenizerFast

CAPTION_DROPOUT = 0.12
ATTRIBUTE_WEIGHT = 0.3
CHECKPOINT_SECONDS = 120
CODEBOOK_DECAY = 0.65  # weight of a codebook's loss relative to the one before it
WARM_UP_STEPS = 60
FIRST_FRAMES = 4  # where a caption matters most: what sounds now says nearly all about what follows


@dataclass
class Options:
    """Settings of a run."""

    data: Path
    codec: Path
    tokenizer: Path
    work_dir: Path
    minutes: float = 0.0
    anneal: float = 0.0
    resume: Path | None = None
    learning_rate: float = 6e-3
    weight_decay: float = 0.05
    width: int = 256
    layers: int = 5
    heads: int = 4
    text_width: int = 128
    workers: int = 2
    micro_batches: int = 4
    frames_in_batch: int = 820
    precision: str = "auto"


class LanguageModelTrainer:
    """The training run, executed by every worker of a team.

    seconds: processor time of the first worker so far, earlier runs included, which does not depend on what
    else the machine does; annealing starts at `anneal_from` of them.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        torch.manual_seed(1)
        tokenizer = T5TokenizerFast.from_pretrained(options.tokenizer)
        codec = load_checkpoint(options.codec)
        shape = (options.width, options.layers, options.heads, options.text_width)
        self.model = build_model(codec, len(tokenizer), *shape)
        self.bf16 = options.precision == "bf16"
        if options.precision == "auto":
            self.bf16 = fastest_type() == torch.bfloat16
        self.start = codec.config.codebook_size
        codebooks = len(codec.quantizer.layers)
        weights = torch.tensor([CODEBOOK_DECAY**k for k in range(codebooks)])
        self.codebook_weights = weights / weights.sum()
        # Reads the attributes off the mean text state; only for training.
        self.attribute_head = nn.Linear(options.width, len(ATTRIBUTES))
        self.train_clips = Clips(options.data, "train", tokenizer)
        self.test_clips = Clips(options.data, "test", tokenizer)
        kinds = matrices(self.model)
        named = dict(self.model.named_parameters())
        self.names = list(kinds)
        self.team = Team([*(named[n] for n in kinds), *self.attribute_head.parameters()], options.workers)
        muon = [*kinds.values(), False, False]
        self.optimiser = TeamOptimiser(self.team, muon, options.weight_decay)
        self.seconds, self.step, self.anneal_from = 0.0, 0, options.minutes * 60
        latest = options.work_dir / "latest.pt"
        source = latest if latest.exists() else options.resume
        if source is not None:
            self.load(source)
        self.end = self.anneal_from + options.anneal * 60
        millions = sum(p.numel() for p in self.team.parameters) / 1e6
        self.say(f"{millions:.2f} M parameters to train, {len(self.train_clips.songs)} clips so far")

    def say(self, text: str) -> None:
        """To stdout and the log."""
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with (self.options.work_dir / "log.txt").open("a") as log:
            log.write(line + "\n")

    def losses(self, batch: Batch, dropped: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each codebook [K], and the error of the attributes read off the text."""
        inputs, targets = delay(batch.codes, self.start)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            states = text_states(self.model, batch.ids, batch.mask)
            kept = states * (~dropped)[:, None, None].to(states.dtype)
            logits = logits_of(self.model, inputs, kept, batch.mask)
        per_codebook = [
            F.cross_entropy(logits[:, k].float().flatten(0, 1), targets[:, k].flatten(), ignore_index=-100)
            for k in range(targets.shape[1])
        ]
        mean_state = states.float().sum(1) / batch.mask.sum(1, keepdim=True)
        attributes = (self.attribute_head(mean_state) - batch.attributes).square().mean()
        return torch.stack(per_codebook), attributes

    def learning_rate(self) -> float:
        """Warm-up, constant, then linear to zero."""
        warm = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        if self.seconds <= self.anneal_from:
            return self.options.learning_rate * warm
        return self.options.learning_rate * max(
            0.005, (self.end - self.seconds) / (self.end - self.anneal_from)
        )

    @torch.no_grad()
    def figures(self) -> str:
        """Held-out cross-entropy of whole clips, and of first frames with true and with shuffled captions."""

        def loss(batch: Batch) -> tuple[Tensor, Tensor]:
            return self.losses(batch, torch.zeros(len(batch.codes), dtype=torch.bool))

        whole, attributes = loss(self.test_clips.batch(list(range(24)), FRAMES, random.Random(7)))
        begun = self.test_clips.batch(list(range(len(self.test_clips.songs))), FIRST_FRAMES, random.Random(8))
        true, _ = loss(begun)
        begun.ids, begun.mask = begun.ids.roll(5, 0), begun.mask.roll(5, 0)
        shuffled, _ = loss(begun)
        shown = " ".join(f"{value:.3f}" for value in whole.tolist())
        first = f"first frames {float(true.mean()):.3f} shuffled {float(shuffled.mean()):.3f}"
        return f"held out {shown} mean {float(whole.mean()):.4f} {first} attributes {float(attributes):.3f}"

    def work(self) -> None:
        """The training loop of one worker."""
        options = self.options
        last, saved, recent = time.process_time(), time.monotonic(), []
        began = (self.seconds, self.step)
        while True:
            now = time.process_time()
            mine = self.seconds + now - last if self.team.rank == 0 else 0.0
            last = now
            self.seconds = float(self.team.gather([mine])[0])
            if self.seconds >= self.end:
                break
            if self.team.rank == 0 and time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save(options.work_dir / "latest.pt")
                saved = time.monotonic()
            self.team.begin_step()
            for micro in self.team.micro_batches(options.micro_batches):
                batch = self.train_clips.draw((self.step, micro), options.frames_in_batch)
                dropped = (
                    torch.rand(len(batch.codes), generator=_generator(self.step, micro)) < CAPTION_DROPOUT
                )
                per_codebook, attributes = self.losses(batch, dropped)
                loss = (per_codebook * self.codebook_weights).sum() + ATTRIBUTE_WEIGHT * attributes
                loss.backward()
                if batch.codes.shape[-1] == FRAMES:
                    recent.append(per_codebook.detach())
            norm = self.optimiser.step(self.learning_rate(), 1 / options.micro_batches)
            self.step += 1
            if self.team.rank == 0 and (self.step in (3, 20, 50) or self.step % 100 == 0):
                mean = " ".join(f"{v:.3f}" for v in torch.stack(recent or [torch.zeros(1)]).mean(0).tolist())
                pace = (self.seconds - began[0]) / (self.step - began[1])
                figures = "; " + self.figures() if self.step % 200 == 0 else ""
                did = f"step {self.step} {self.seconds:.0f} s ({pace:.2f} a step)"
                self.say(f"{did} norm {norm:.2f} CE {mean}" + figures)
                recent.clear()
        if self.team.rank == 0:
            self.save(options.work_dir / "latest.pt")
            cpu = f"CPU {time.process_time():.0f} s in this worker"
            self.say(f"done: {self.step} steps, {self.seconds:.0f} s, {cpu}")
            self.say(self.figures())

    def save(self, path: Path) -> None:
        """Checkpoint, and weights.pt beside it: float16 without the optimiser, small to keep."""
        model = {n: p.detach() for n, p in zip(self.names, self.team.parameters, strict=False)}
        head = self.attribute_head.state_dict()
        annealing = self.anneal_from if self.seconds > self.anneal_from else None
        figures = dict(seconds=self.seconds, step=self.step, anneal_from=annealing)
        halves = [{n: v.half() for n, v in part.items()} for part in (model, head)]
        _write(dict(figures, model=halves[0], head=halves[1]), path.with_name("weights.pt"))
        _write(dict(figures, model=model, head=head, optimiser=self.optimiser.state_dict()), path)

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint."""
        state = torch.load(path)
        for name, parameter in zip(self.names, self.team.parameters, strict=False):
            parameter.data.copy_(state["model"][name])
        self.attribute_head.load_state_dict(state["head"])
        if "optimiser" in state:
            self.optimiser.load_state_dict(state["optimiser"])
        self.seconds, self.step = state["seconds"], state["step"]
        self.anneal_from = state.get("anneal_from") or max(self.anneal_from, self.seconds)
        self.say(f"going on from {path.name}, step {self.step}, {self.seconds:.0f} s")


def _write(state: dict, path: Path) -> None:
    """Saves under a temporary name and renames."""
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def _generator(step: int, micro: int) -> torch.Generator:
    """A generator for this micro-batch, whichever worker runs it."""
    return torch.Generator().manual_seed(step * 1000 + micro)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("data", "codec", "tokenizer", "work_dir"):
        parser.add_argument("--" + name.replace("_", "-"), type=Path, required=True)
    parser.add_argument(
        "--minutes",
        type=float,
        default=0.0,
        help="processor time of a worker at full rate, earlier runs included",
    )
    parser.add_argument(
        "--anneal",
        type=float,
        default=0.0,
        help="minutes of falling rate after that",
    )
    parser.add_argument(
        "--resume", type=Path, help="checkpoint to start from where work-dir has no latest.pt"
    )
    for name in ("width", "layers", "heads", "text_width", "workers", "micro_batches", "frames_in_batch"):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=getattr(Options, name))
    for name in ("learning_rate", "weight_decay"):
        parser.add_argument("--" + name.replace("_", "-"), type=float, default=getattr(Options, name))
    parser.add_argument("--precision", choices=("auto", "bf16", "f32"), default=Options.precision)
    options = Options(**vars(parser.parse_args()))
    options.work_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    trainer = LanguageModelTrainer(options)
    trainer.team.launch(trainer.work)


if __name__ == "__main__":
    main()
