"""Times of transformers' parts, for against_transformers.py: transformers_times.py JOB.json prints JSON.

Job: {"checkpoint": DIR, "dtype": "float32", "threads": [1, 2], "frames", "prompt",
      "steps": {"clips", "count"}, "codec": {"frames", "repeats"}, "wav": {"clips", "out"}}
Result: {"load_s", "threads", "steps_s": [...], "codec_s": [...], "clip_s": [...]}
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import soundfile
import torch
import transformers
from transformers import AutoTokenizer, MusicgenForConditionalGeneration, StoppingCriteria


class Clock(StoppingCriteria):
    """Stops nothing; notes when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Called at the end of a step."""
        self.times.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool)

    def steps(self) -> list[float]:
        """Seconds of each step but the first, which has no start."""
        return [end - start for start, end in zip(self.times, self.times[1:], strict=False)]


class Side:
    """The model, loaded with the fastest attention, on the number of threads that suits it best."""

    def __init__(self, job: dict[str, Any]) -> None:
        start = time.perf_counter()
        self.prompt: str = job["prompt"]
        self.tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"])
        self.model = MusicgenForConditionalGeneration.from_pretrained(
            job["checkpoint"], dtype=getattr(torch, job["dtype"]), attn_implementation={"decoder": "sdpa"}
        ).eval()
        self.load_s = time.perf_counter() - start
        self.one_by_one()
        steer_every_layer(self.model)
        self.threads = self.best_threads(job["threads"])

    def one_by_one(self) -> None:
        """Decode clips by themselves: together they take twice as long."""
        decode = self.model.audio_encoder.decode

        def each(audio_codes: torch.Tensor, audio_scales: list[Any], **named: Any) -> Any:
            clips = audio_codes.split(1, dim=1)
            outputs = [decode(clip, audio_scales[:1], **named) for clip in clips]
            outputs[0].audio_values = torch.cat([output.audio_values for output in outputs])
            return outputs[0]

        self.model.audio_encoder.decode = each

    def best_threads(self, candidates: list[int]) -> int:
        """Try a few steps with each."""
        found = {}
        for threads in candidates if len(candidates) > 1 else ():
            torch.set_num_threads(threads)
            found[threads] = sorted(self.generate(1, 9)[0].steps())[3]
        best = min(found, key=lambda threads: found[threads]) if found else candidates[0]
        torch.set_num_threads(best)
        return best

    def generate(self, clips: int, frames: int) -> tuple[Clock, torch.Tensor]:
        """Clips of exactly `frames` frames, guided; their samples [clips, C, N]."""
        clock = Clock()
        inputs = self.tokenizer([self.prompt] * clips, return_tensors="pt", padding=True)
        # A frame's last codebook comes as many steps later as there are others.
        config = self.model.config.decoder
        steps = frames + config.num_codebooks // config.audio_channels - 1
        samples = self.model.generate(
            **inputs,
            do_sample=True,
            top_k=250,
            guidance_scale=3.0,
            max_new_tokens=steps,
            stopping_criteria=[clock],
        )
        if abs(len(clock.times) - steps) > 1:
            raise SystemExit(f"transformers took {len(clock.times)} steps, not {steps}: nothing to compare")
        return clock, samples


def steer_every_layer(model: Any) -> None:
    """A hook on each layer that adds a vector to its output: the work of steering."""
    vector = torch.full([model.config.decoder.hidden_size], 1e-3, dtype=model.dtype)

    def add(_module: Any, _arguments: Any, output: Any) -> Any:
        return (output[0] + vector, *output[1:]) if isinstance(output, tuple) else output + vector

    for layer in model.decoder.model.decoder.layers:
        layer.register_forward_hook(add)


def time_codec(side: Side, spec: dict[str, int]) -> list[float]:
    """Seconds of decoding one clip of random codes."""
    config = side.model.config.decoder
    codebooks = config.num_codebooks // config.audio_channels
    codes = torch.randint(config.vocab_size, [1, 1, codebooks, spec["frames"]])
    seconds = []
    for _ in range(spec["repeats"] + 1):
        start = time.perf_counter()
        side.model.audio_encoder.decode(codes, [None])
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def write_clips(side: Side, job: dict[str, Any]) -> list[float]:
    """Text to WAV; seconds of each call."""
    out, rate = Path(job["wav"]["out"]), side.model.config.audio_encoder.sampling_rate
    seconds = []
    for call in range(job["wav"].get("calls", 1)):
        start = time.perf_counter()
        _, samples = side.generate(job["wav"]["clips"], job["frames"])
        for i, clip in enumerate(samples):
            soundfile.write(out / f"{call}-{i}.wav", clip.T.float().clamp(-1, 1).numpy(), rate)
        seconds.append(time.perf_counter() - start)
    return seconds


@torch.inference_mode()
def run(job: dict[str, Any]) -> dict[str, Any]:
    """Everything that the job names."""
    side = Side(job)
    result: dict[str, Any] = {"load_s": side.load_s, "threads": side.threads}
    if "steps" in job:
        result["steps_s"] = side.generate(job["steps"]["clips"], job["steps"]["count"])[0].steps()
    if "codec" in job:
        result["codec_s"] = time_codec(side, job["codec"])
    if "wav" in job:
        result["clip_s"] = write_clips(side, job)
    return result


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(json.dumps(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
