"""transformers on a melody checkpoint: one row at a time, for it attends to the padding of a batch.

Hooks see the last column alone, so that the prefix, which goes in with the first code, is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from job import Run
from reference import SITES, Reference, Watch, delay, schedule_factors, steering, undelay
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, MusicgenMelodyForConditionalGeneration

from musicsteer.torchscript.reference import told_by_transformers


class MelodyReference(Reference):
    """A melody checkpoint in transformers."""

    architecture = MusicgenMelodyForConditionalGeneration

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint)
        self.active = 0  # the row that is being computed

    def points(self) -> list[str]:
        """Every hook point that there is in transformers: it has no cross-attention."""
        inner = [f"decoder.{i}.{s}" for i in range(self.layers) for s in SITES if s != "cross_attn_out"]
        return ["decoder.embed", *inner, "decoder.final_norm"]

    def seam(self, point: str) -> tuple[Any, str]:
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
            "cross_attn_out": (module.self_attn, "output"),  # where what steering adds there can go in
            "resid_post_self": (module.final_layer_norm, "stream"),
            "resid_post_cross": (module.final_layer_norm, "stream"),
            "mlp_out": (module.fc2, "output"),
            "resid_post": (module, "output"),
        }[site]

    def told(self, run: Run) -> list[Tensor]:
        """The prefix of every row, [1, length, D]."""
        prefixes = []
        for request, is_null in self.rows(run):
            spec = run.requests[request]
            text = spec.negative_prompt if is_null else None if spec.unconditional else spec.prompt
            ids = self.tokenizer(spec.prompt if text is None else text, return_tensors="pt").input_ids
            melody = None if is_null else spec.melody
            if text is None and melody is None:
                prefixes.append(told_by_transformers(self.model, ids, None)[1:])  # its null row
            else:
                assert text is not None
                prefixes.append(told_by_transformers(self.model, ids, melody, guided=False))
        return prefixes

    def hook_row(self, point: str, row: int, edit: Callable[[Tensor], Tensor]) -> Any:
        """Edit the last column of one row at `point`."""

        def last_column(x: Tensor) -> Tensor:
            return torch.cat([x[:, :-1], edit(x[:, -1:])], dim=1) if self.active == row else x

        return self.hook(point, last_column)

    @contextmanager
    def steered_rows(self, run: Run) -> Iterator[None]:
        """Every request's injections on its rows."""
        handles, watches = [], []
        for request, spec in enumerate(run.requests):
            for injection in spec.injections:
                factors = schedule_factors(injection, run.frames, max(self.delays), self.frame_rate)
                watch = None
                if injection.gate is not None:
                    same_frame = self.runs_before(injection.gate.point, injection.point)
                    watch = Watch(injection.gate, 0, delay=0 if same_frame else 1, first=0)
                    watches.append((request, watch))
                for row, (owner, is_null) in enumerate(self.rows(run)):
                    if owner == request and not (is_null and injection.rows == "conditional"):
                        edit = steering(injection, [0], factors, self.chosen_heads(injection), watch, first=0)
                        handles.append(self.hook_row(injection.point, row, edit))
        handles += [self.hook_row(watch.gate.point, row, watch) for row, watch in watches]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def recorded_rows(self, run: Run) -> Iterator[dict[str, list[list[Tensor]]]]:
        """The activations at every hook point, for each row one entry for each step."""
        columns: dict[str, list[list[Tensor]]] = {}
        handles = []

        def keeping(parts: list[Tensor]) -> Callable[[Tensor], Tensor]:
            def keep(x: Tensor) -> Tensor:
                parts.append(x.clone())
                return x

            return keep

        for point in self.points() if "activations" in run.dump else []:
            columns[point] = [[] for _ in self.rows(run)]
            handles += [self.hook_row(point, row, keeping(parts)) for row, parts in enumerate(columns[point])]
        try:
            yield columns
        finally:
            for handle in handles:
                handle.remove()

    @torch.inference_mode()
    def run(self, run: Run) -> dict[str, Tensor]:
        rows, told, requests = self.rows(run), self.told(run), len(run.requests)
        none = torch.empty(self.num_codebooks, 0, dtype=torch.long)
        given = torch.stack([none if r.forced_codes is None else r.forced_codes for r in run.requests])
        sequence = delay(given, self.delays, self.start, run.frames)
        null_row = list(range(requests))
        for row, (request, is_null) in enumerate(rows):
            null_row[request] = row if is_null else null_row[request]
        caches = [EncoderDecoderCache(DynamicCache(), DynamicCache()) for _ in rows]
        logits, guided = [], []
        with self.steered_rows(run), self.recorded_rows(run) as columns:
            for position in range(run.frames + max(self.delays)):
                of_rows = []
                for row, (request, _) in enumerate(rows):
                    self.active = row
                    step = self.model(
                        encoder_hidden_states=told[row] if position == 0 else None,
                        decoder_input_ids=sequence[request, :, position : position + 1],
                        past_key_values=caches[row],
                        use_cache=True,
                    )
                    of_rows.append(step.logits.view(self.num_codebooks, -1, self.vocabulary)[:, -1])
                step = torch.stack(of_rows)
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
        joined = {
            point: torch.cat([torch.cat(parts, dim=1) for parts in of_rows])
            for point, of_rows in columns.items()
        }
        return result | joined
