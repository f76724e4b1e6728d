"""Trains the codec in two stages; a stage that was cut off goes on where it was.

    python train_codec.py --data WORK/data --work-dir WORK/codec --stage continuous --minutes 10
    python train_codec.py --data WORK/data --work-dir WORK/codec --stage decoder --minutes 10

    python train_codec.py ... --stage decoder --minutes 10 --start models/demo

continuous: no quantiser, waveform error first, mel error ramped in. decoder: codebooks by k-means, and from
then on the codes are final and the decoder alone learns to make the best of them, with a falling learning
rate. With --start, a saved model's codec takes the place of the first stage; --minutes 0 ends after k-means.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from codec import build_codec, initialise, is_matrix, trainable
from codec_loss import MelLoss, emphasised_error, relative_error
from lm import load_model
from music import FRAMES, HOP
from optimiser import TeamOptimiser
from parallel import Team
from rvq import fit_codebooks, quantise
from torch import Tensor

STAGES = ("continuous", "decoder")
MEL_WEIGHT, SIZE_WEIGHT = 0.5, 1e-3
CHECKPOINT_SECONDS = 90
LATENT_BATCHES = 60  # of 32 crops of 50 frames, for k-means


@dataclass
class Options:
    """Settings of one stage."""

    data: Path
    work_dir: Path
    stage: str
    minutes: float
    start: Path | None = None
    learning_rate: float = 1e-3
    codebooks: int = 4
    codebook_size: int = 1024
    filters: int = 32
    latent: int = 128
    workers: int = 2
    micro_batches: int = 4
    crops: int = 4
    crop_frames: int = 16
    mel_after: float = 0.15


class Crops:
    """Random crops of the training clips that start on the frame grid, as codes do."""

    def __init__(self, path: Path) -> None:
        self.clips = np.load(path, mmap_mode="r")

    def draw(self, rng: np.random.Generator, count: int, frames: int) -> Tensor:
        """[count, frames * HOP] float32."""
        rows = rng.integers(len(self.clips), size=count)
        starts = rng.integers(FRAMES - frames + 1, size=count) * HOP
        crops = [self.clips[r, s : s + frames * HOP] for r, s in zip(rows, starts, strict=True)]
        return torch.from_numpy(np.stack(crops).astype(np.float32) / 32768)


class CodecTrainer:
    """One stage of training, run by every worker of a team."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.crops = Crops(options.data / "train.npy")
        self.test = torch.from_numpy(
            np.load(options.data / "test.npy", mmap_mode="r")[:16, : 100 * HOP] / 32768.0
        )
        self.test = self.test.float()
        torch.manual_seed(0)
        self.codec = build_codec(options.codebooks, options.codebook_size, options.filters, options.latent)
        stage = STAGES.index(options.stage)
        self.path = options.work_dir / f"{options.stage}.pt"
        before = options.work_dir / f"{STAGES[stage - 1]}.pt" if stage else None
        saved = torch.load(self.path) if self.path.exists() else None
        if saved is None and options.start is not None:
            self._load_model(load_model(str(options.start)).audio_encoder.state_dict())
        elif saved is None and before is None:
            initialise(self.codec, self.crops.draw(np.random.default_rng(0), 16, 32)[:, None])
        elif saved is None:
            self._load_model(torch.load(before)["model"])
        else:
            self._load_model(saved["model"])
        parameters = trainable(self.codec, decoder_only=options.stage == "decoder")
        self.team = Team(parameters, options.workers)
        self.optimiser = TeamOptimiser(self.team, [is_matrix(p) for p in parameters])
        self.mel = MelLoss()
        self.seconds, self.step = 0.0, 0
        if saved is not None:
            self.optimiser.load_state_dict(saved["optimiser"])
            self.seconds, self.step = saved["seconds"], saved["step"]
        elif options.stage == "decoder":
            self._start_codebooks()
            self.save()

    def _load_model(self, state: dict[str, Tensor]) -> None:
        """Codebooks of another number or size are left out: they start anew."""
        ours = self.codec.state_dict()
        fitting = {k: v for k, v in state.items() if k in ours and v.shape == ours[k].shape}
        self.codec.load_state_dict(fitting, strict=False)

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        rng, latents = np.random.default_rng(5), []
        for _ in range(LATENT_BATCHES):
            z = self.codec.encoder(self.crops.draw(rng, 32, 50)[:, None])
            latents.append(z[:, :, 1:-1].permute(0, 2, 1).reshape(-1, z.shape[1]))
        left = fit_codebooks(self.codec, torch.cat(latents))
        self._say("k-means, variance left after each codebook: " + " ".join(f"{v:.4f}" for v in left))
        self._say("after k-means: " + self.figures())

    def _say(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {self.options.stage} {text}"
        print(line, flush=True)
        with (self.options.work_dir / "log.txt").open("a") as log:
            log.write(line + "\n")

    @torch.no_grad()
    def figures(self) -> str:
        """Errors on held-out clips."""
        z = self.codec.encoder(self.test[:, None])
        if self.options.stage != "continuous":
            z = quantise(self.codec, z)
        y = self.codec.decoder(z)[:, 0]
        error, high = relative_error(y, self.test), emphasised_error(y, self.test)
        return f"held out: error {error:.4f} emphasised {high:.4f} mel {self.mel(y, self.test):.4f}"

    def loss(self, x: Tensor, progress: float) -> Tensor:
        """x: [B, N] -> scalar."""
        stage = self.options.stage
        if stage == "decoder":
            with torch.no_grad():
                z = quantise(self.codec, self.codec.encoder(x[:, None]))
            extra = torch.zeros(())
        else:
            z = self.codec.encoder(x[:, None])
            extra = SIZE_WEIGHT * z.square().mean()
        y = self.codec.decoder(z)[:, 0]
        loss = relative_error(y, x) + 0.5 * emphasised_error(y, x) + extra
        after = self.options.mel_after if stage == "continuous" else -1.0
        mel_weight = MEL_WEIGHT * min(1.0, max(0.0, (progress - after) / 0.15))
        return loss + mel_weight * self.mel(y, x) if mel_weight > 0 else loss

    def learning_rate(self, progress: float) -> float:
        """Warm-up; the first stage keeps it high, the second lets it fall to nothing."""
        warm = min(1.0, (self.step + 1) / 40)
        fall = {"continuous": (1.0, 0.5), "decoder": (0.8, 0.01)}[self.options.stage]
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self.options.learning_rate * warm * (fall[1] + (fall[0] - fall[1]) * cosine)

    def work(self) -> None:
        """The training loop of one worker."""
        options, budget = self.options, self.options.minutes * 60
        last, saved, losses = time.monotonic(), time.monotonic(), []
        while True:
            now = time.monotonic()
            self.seconds += (now - last) if self.team.rank == 0 else 0.0
            last = now
            self.seconds = float(self.team.gather([self.seconds if self.team.rank == 0 else 0.0])[0])
            if self.seconds >= budget:
                break
            progress = self.seconds / budget
            self.team.begin_step()
            count = 0
            for micro in self.team.micro_batches(options.micro_batches):
                rng = np.random.default_rng((STAGES.index(options.stage), self.step, micro))
                loss = self.loss(self.crops.draw(rng, options.crops, options.crop_frames), progress)
                loss.backward()
                losses.append(float(loss.detach()))
                count += 1
            self.optimiser.step(self.learning_rate(progress), 1 / options.micro_batches)
            self.step += 1
            if self.team.rank == 0 and (self.step in (5, 20, 50) or self.step % 100 == 0):
                rate = f"{self.seconds:.0f} s, {self.seconds / self.step:.3f} s a step"
                self._say(f"step {self.step}: {rate}, loss {np.mean(losses[-200:]):.4f}, " + self.figures())
                losses.clear()
            if self.team.rank == 0 and time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.monotonic()
        if self.team.rank == 0:
            self.save()
            self._say(
                f"done: {self.step} steps, CPU {time.process_time():.0f} s in this worker, " + self.figures()
            )

    def save(self) -> None:
        """Checkpoint, written to a temporary name and renamed."""
        state = dict(
            model=self.codec.state_dict(), optimiser=self.optimiser.state_dict(), seconds=self.seconds
        )
        part = self.path.with_suffix(".part")
        torch.save(dict(state, step=self.step), part)
        os.replace(part, self.path)
        if self.options.stage == "decoder":
            self.codec.save_pretrained(self.options.work_dir / "model")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train.npy and test.npy")
    parser.add_argument("--work-dir", type=Path, required=True, help="checkpoints and log.txt go here")
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="training time of this stage")
    for name in ("codebooks", "codebook_size", "filters", "latent", "workers", "micro_batches", "crops"):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=getattr(Options, name))
    parser.add_argument("--learning-rate", type=float, default=Options.learning_rate)
    parser.add_argument("--start", type=Path, help="folder of a saved model whose codec to begin with")
    options = Options(**vars(parser.parse_args()))
    options.work_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    trainer = CodecTrainer(options)
    trainer.team.launch(trainer.work)


if __name__ == "__main__":
    main()
