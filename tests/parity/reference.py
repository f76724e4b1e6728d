"""transformers computing what a job describes (job.py): padded batches, cached single steps, forward hooks.

Only the loop around the modules is written here (delay pattern, guidance, greedy choice); test_reference.py
holds that loop to `MusicgenForConditionalGeneration.generate`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from job import Gate, Injection, Run
from torch import Tensor
from transformers import (
    AutoTokenizer,
    DynamicCache,
    EncoderDecoderCache,
    MusicgenForConditionalGeneration,
    T5Tokenizer,
)

SITES = (
    "resid_pre",
    "self_attn_heads",
    "self_attn_out",
    "resid_post_self",
    "cross_attn_out",
    "resid_post_cross",
    "mlp_out",
    "resid_post",
)


def delay(codes: Tensor, delays: list[int], start: int, frames: int) -> Tensor:
    """Codes [R, K, T0] -> the decoder's input for a clip of `frames`, [R, K, positions + 1]."""
    sequence = torch.full((codes.size(0), codes.size(1), frames + max(delays) + 1), start)
    for k, lag in enumerate(delays):
        sequence[:, k, 1 + lag : 1 + lag + codes.size(2)] = codes[:, k]
    return sequence


def undelay(sequence: Tensor, delays: list[int], frames: int) -> Tensor:
    """[R, K, positions + 1] -> codes [R, K, frames]."""
    return torch.stack([sequence[:, k, 1 + lag : 1 + lag + frames] for k, lag in enumerate(delays)], dim=1)


class Reference:
    """A checkpoint in transformers."""

    architecture: Any = MusicgenForConditionalGeneration

    def __init__(self, checkpoint: Path) -> None:
        self.model = self.architecture.from_pretrained(checkpoint, dtype=torch.float32).eval()
        has_json = (checkpoint / "tokenizer.json").exists()
        self.tokenizer = (AutoTokenizer if has_json else T5Tokenizer).from_pretrained(checkpoint)
        config = self.model.config.decoder
        self.layers = config.num_hidden_layers
        self.width = config.hidden_size
        self.vocabulary = config.vocab_size
        self.num_codebooks = config.num_codebooks
        self.channels = config.audio_channels
        self.start = self.model.generation_config.decoder_start_token_id
        self.frame_rate = self.model.config.audio_encoder.frame_rate
        self.delays = [k // self.channels for k in range(self.num_codebooks)]

    def points(self) -> list[str]:
        """Every hook point, in order of execution."""
        inner = [f"decoder.{i}.{site}" for i in range(self.layers) for site in SITES]
        return ["decoder.embed", *inner, "decoder.final_norm"]

    # --- text ---

    @torch.inference_mode()
    def text_states(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """One padded batch: states [P, S, Dt] and mask [P, S]."""
        batch = self.tokenizer(texts, padding=True, return_tensors="pt")
        states = self.model.text_encoder(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).last_hidden_state
        return states, batch.attention_mask

    def rows(self, run: Run) -> list[tuple[int, bool]]:
        """(request, is null row): conditional rows in order, then null rows."""
        requests = range(len(run.requests))
        null = [i for i in requests if run.guided and run.requests[i].has_null_row]
        return [(i, False) for i in requests] + [(i, True) for i in null]

    def conditioning(self, run: Run) -> tuple[Tensor, Tensor]:
        """Text states and mask of every row; the null state is zeros with an empty mask."""
        texts: list[str | None] = []
        for request, is_null in self.rows(run):
            spec = run.requests[request]
            texts.append(spec.negative_prompt if is_null else None if spec.unconditional else spec.prompt)
        known = sorted({text for text in texts if text is not None})
        states, mask = self.text_states(known or [""])
        row_states = states.new_zeros(len(texts), *states.shape[1:])
        row_mask = mask.new_zeros(len(texts), mask.size(1))
        for row, text in enumerate(texts):
            if text is not None:
                row_states[row] = states[known.index(text)]
                row_mask[row] = mask[known.index(text)]
        return row_states, row_mask

    # --- hooks ---

    def seam(self, point: str) -> tuple[Any, str]:
        """The module of a hook point, and where it lies: its "input", "output", or "stream".

        A "stream" is an input that is the residual stream as well, so that an edit has to be made in place.
        """
        decoder = self.model.decoder.model.decoder
        if point == "decoder.embed":
            return decoder.layers[0], "input"
        if point == "decoder.final_norm":
            return decoder.layer_norm, "output"
        _, layer, site = point.split(".")
        module = decoder.layers[int(layer)]
        return {
            "resid_pre": (module, "input"),
            "self_attn_heads": (module.self_attn.out_proj, "input"),
            "self_attn_out": (module.self_attn, "output"),
            "resid_post_self": (module.encoder_attn_layer_norm, "stream"),
            "cross_attn_out": (module.encoder_attn, "output"),
            "resid_post_cross": (module.final_layer_norm, "stream"),
            "mlp_out": (module.fc2, "output"),
            "resid_post": (module, "output"),
        }[site]

    def hook(self, point: str, edit: Callable[[Tensor], Tensor]) -> Any:
        """Replace the activation at `point` by what `edit` returns."""
        module, where = self.seam(point)

        def on_input(_: Any, inputs: tuple[Any, ...]) -> Any:
            return (edit(inputs[0]), *inputs[1:])

        def on_stream(_: Any, inputs: tuple[Any, ...]) -> None:
            inputs[0].copy_(edit(inputs[0]))

        def on_output(_: Any, __: Any, output: Any) -> Any:
            return (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

        if where == "output":
            return module.register_forward_hook(on_output)
        return module.register_forward_pre_hook(on_input if where == "input" else on_stream)

    @contextmanager
    def steered(self, run: Run, first: int, total: int) -> Iterator[None]:
        """Every request's injections as forward hooks on its rows, from frame `first` of `total` on."""
        handles, watches = [], []
        for request, spec in enumerate(run.requests):
            for injection in spec.injections:
                chosen = [
                    row
                    for row, (owner, is_null) in enumerate(self.rows(run))
                    if owner == request and not (is_null and injection.rows == "conditional")
                ]
                factors = schedule_factors(injection, total, max(self.delays), self.frame_rate)
                watch = None
                if injection.gate is not None:
                    same_frame = self.runs_before(injection.gate.point, injection.point)
                    watch = Watch(injection.gate, request, 0 if same_frame else 1, first)
                    watches.append(watch)
                edit = steering(injection, chosen, factors, self.chosen_heads(injection), watch, first)
                handles.append(self.hook(injection.point, edit))
        # After the edits, since a gate reads what they leave.
        handles += [self.hook(watch.gate.point, watch) for watch in watches]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def runs_before(self, one: str, other: str) -> bool:
        """Whether a hook point fires before another in the same step."""
        return self.points().index(one) < self.points().index(other)

    def chosen_heads(self, injection: Injection) -> Tensor:
        """The numbers of an activation [D] that an injection may change."""
        heads = self.model.config.decoder.num_attention_heads
        chosen = torch.zeros(heads, self.width // heads, dtype=torch.bool)
        chosen[list(injection.heads or range(heads))] = True
        return chosen.flatten()

    @contextmanager
    def recorded(self, columns: dict[str, list[Tensor]]) -> Iterator[None]:
        """Adds the activations at these hook points while the context lasts, one entry for each step."""

        def keeping(parts: list[Tensor]) -> Callable[[Tensor], Tensor]:
            def keep(x: Tensor) -> Tensor:
                parts.append(x.clone())
                return x

            return keep

        handles = [self.hook(point, keeping(parts)) for point, parts in columns.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    # --- generation ---

    @torch.inference_mode()
    def run(self, run: Run, first: int = 0, total: int | None = None) -> dict[str, Tensor]:
        """Greedy codes; raw and guided logits of every position; activations if the run asks for them.

        The model is called as `generate` calls it: text states and mask at every step, one column of codes.
        With `first` and `total` the run is a window, at that frame of a clip of so many.
        """
        total = total or run.frames
        rows = self.rows(run)
        starts = {section.first_frame for request in run.requests for section in request.sections}
        requests = len(run.requests)
        none = torch.empty(self.num_codebooks, 0, dtype=torch.long)
        given = torch.stack([none if r.forced_codes is None else r.forced_codes for r in run.requests])
        sequence = delay(given, self.delays, self.start, run.frames)
        owner = torch.tensor([request for request, _ in rows])
        null_row = list(range(requests))
        for row, (request, is_null) in enumerate(rows):
            null_row[request] = row if is_null else null_row[request]
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits, guided = [], []
        columns: dict[str, list[Tensor]] = {point: [] for point in self.points() if "activations" in run.dump}
        with ExitStack() as hooks:
            for position in range(run.frames + max(self.delays)):
                if position == 0 or first + position in starts:
                    now = in_section(run, first + position)
                    hooks.close()
                    hooks.enter_context(self.steered(now, first + position, total))
                    hooks.enter_context(self.recorded(columns))
                    states, mask = self.conditioning(now)
                    cache = EncoderDecoderCache(cache.self_attention_cache, DynamicCache())
                codes = sequence[owner, :, position : position + 1]
                step = self.model(
                    encoder_outputs=(states,),
                    attention_mask=mask,
                    decoder_input_ids=codes.flatten(0, 1),
                    past_key_values=cache,
                    use_cache=True,
                ).logits.view(len(rows), self.num_codebooks, self.vocabulary)
                null = step[null_row]
                chosen = null + run.guidance * (step[:requests] - null) if run.guided else step[:requests]
                for k, lag in enumerate(self.delays):
                    if given.size(2) <= position - lag < run.frames and position >= lag:
                        sequence[:, k, position + 1] = chosen[:, k].argmax(-1)
                logits.append(step)
                guided.append(chosen)
        result = {
            "codes": undelay(sequence, self.delays, run.frames),
            "logits": torch.stack(logits, dim=2),
            "guided": torch.stack(guided, dim=2),
        }
        return result | {point: torch.cat(parts, dim=1) for point, parts in columns.items()}

    # --- codec ---

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] -> samples [B, C, N]; the codebooks of a stereo pair interleave."""
        sides = [codes[:, side :: self.channels] for side in range(self.channels)]
        waves = [self.model.audio_encoder.decode(c[None], [None] * c.size(0)).audio_values for c in sides]
        return torch.cat(waves, dim=1)

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> Tensor:
        """Samples [B, C, N] -> codes [B, K, T]."""
        width = self.model.config.audio_encoder.audio_channels
        sides = samples.split(width, dim=1)
        codes = [self.model.audio_encoder.encode(side).audio_codes[0] for side in sides]
        return torch.stack(codes, dim=2).flatten(1, 2)


def in_section(run: Run, frame: int) -> Run:
    """The run with the prompts and injections that hold at a frame."""
    requests = []
    for request in run.requests:
        for section in request.sections:
            if section.first_frame > frame:
                continue
            if section.prompt is not None:
                request = dataclasses.replace(request, prompt=section.prompt)
            if section.injections is not None:
                request = dataclasses.replace(request, injections=section.injections)
        requests.append(request)
    return dataclasses.replace(run, requests=tuple(requests))


def schedule_factors(injection: Injection, frames: int, delay: int, frame_rate: float) -> list[float]:
    """What the injection's strength is multiplied by at each position of a clip."""
    kind, *parts = injection.schedule.split(",")
    numbers = [float(part) for part in parts]
    positions = range(frames + delay)
    if kind == "decay":
        factors = [max(numbers[1], numbers[0] ** p) for p in positions]
    elif kind == "linear":
        factors = [float(f) for f in np.interp(positions, [0, frames - 1], numbers)]
    elif kind == "window":
        starts, ends = ([round(second * frame_rate) for second in numbers[side::2]] for side in (0, 1))
        pairs = list(zip(starts, ends, strict=True))
        factors = [float(any(start <= p < end for start, end in pairs)) for p in positions]
    else:
        factors = [1.0 for _ in positions]
    drawn = split_mix(injection.frame_seed, len(factors))
    return [f if u < injection.probability else 0.0 for f, u in zip(factors, drawn, strict=True)]


def split_mix(seed: int, count: int) -> list[float]:
    """The first numbers of SplitMix64 (Steele, Lea and Flood, 2014), as fractions of 53 bits."""
    whole, state, found = 2**64 - 1, seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & whole
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & whole
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & whole
        found.append(((z ^ (z >> 31)) >> 11) / 2**53)
    return found


class Watch:
    """Notes where a gate of the request whose conditional row is `row` is open; an edit that changes nothing,
    called once for each position in turn."""

    def __init__(self, gate: Gate, row: int, delay: int, first: int) -> None:
        self.gate, self.row, self.delay = gate, row, delay
        self.open = [False] * first

    def __call__(self, x: Tensor) -> Tensor:
        cosine = float(torch.cosine_similarity(x[self.row, 0].double(), self.gate.vector.double(), dim=0))
        distance = cosine - self.gate.threshold
        assert abs(distance) > 1e-5, "too near the threshold to compare: choose another"
        self.open.append(distance < 0 if self.gate.below else distance > 0)
        return x

    def lets_through(self, position: int) -> bool:
        """As one injection heeds it."""
        read = position - self.delay
        return 0 <= read < len(self.open) and self.open[read]


def steering(
    injection: Injection,
    rows: list[int],
    factors: list[float],
    chosen: Tensor,
    watch: Watch | None,
    first: int,
) -> Callable[[Tensor], Tensor]:
    """The edit that steers some rows of an activation [B, 1, D], called once for each position from
    `first` on.

    Of the activation, only the chosen numbers [D] take part.
    """
    position = itertools.count(first)
    v = injection.vector[chosen]
    u = v / v.norm()

    def edit(x: Tensor) -> Tensor:
        now = next(position)
        factor = factors[now] if watch is None or watch.lets_through(now) else 0.0
        if factor == 0.0:
            return x
        x = x.clone()
        h = x[rows][..., chosen]
        if injection.mode == "add":
            moved = h + injection.strength * factor * v
        elif injection.mode == "add-renorm":
            moved = h + injection.strength * factor * v
            moved = moved / moved.norm(dim=-1, keepdim=True) * h.norm(dim=-1, keepdim=True)
        else:
            along = (h @ u)[..., None]
            wanted = injection.value if injection.mode == "clamp" else 0.0
            moved = h + injection.strength * factor * (wanted - along) * u
        edited = x[rows]
        edited[..., chosen] = moved
        x[rows] = edited
        return x

    return edit
