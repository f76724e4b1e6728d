"""Comparing a bundle with transformers: one case, both sides' tensors by name, and the differences.

Names are those of the hook points (`decoder.{i}.{site}`) and of what lies around them. Every tensor has to
agree to BOUND times the reference's largest value; integers have to be equal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ClassifierFreeGuidanceLogitsProcessor, DynamicCache, EncoderDecoderCache

from musicsteer.torchscript.decoder import text_bias

# float32's own noise. Against float64, transformers errs by up to 1.2e-5 of the largest value and the
# modules by up to 1.1e-5 (heads of cross-attention, six-codebooks); they may differ by the sum, and on some
# processors do.
BOUND = 2.5e-5


@dataclass(frozen=True)
class Steer:
    """A vector [D] added at one hook point, on rows [first, last)."""

    layer: int
    site: str
    vector: Tensor
    rows: tuple[int, int]

    def apply(self, x: Tensor) -> Tensor:
        """[B, T, D] with the vector added to the chosen rows."""
        x = x.clone()
        x[self.rows[0] : self.rows[1]] += self.vector
        return x


@dataclass
class Case:
    """What both sides compute on. The last text is the null one: its mask is zero."""

    ids: Tensor  # [P, S] int64
    mask: Tensor  # [P, S] int64, 0 = padding
    prompt_of_row: Tensor  # [B] int64: first the conditional rows, then as many on the null text
    frames: Tensor  # [B / 2, K, N] int64: undelayed codes to feed, the same for both halves of the batch
    samples: Tensor  # [b, C, n] float32, for the codec
    guidance: float = 3.0
    steer: list[Steer] = field(default_factory=list)


def make_case(manifest: dict[str, Any], seed: int, requests: int = 2, num_frames: int = 9) -> Case:
    """Random texts of unequal length, codes and samples that fit the manifest's sizes."""
    draw = torch.Generator().manual_seed(seed)
    decoder, codec, text = manifest["decoder"], manifest["codec"], manifest["text_encoder"]
    texts, length = max(2, requests - 1) + 1, 11  # three requests: the third shares the first one's text
    ids = torch.randint(3, text["vocab_size"], [texts, length], generator=draw)
    mask = torch.ones_like(ids)
    for p in range(texts):
        mask[p, max(1, length - 4 * p) if p < texts - 1 else 0 :] = 0
    ids = torch.where(mask == 0, text["pad_token_id"], ids)
    rows = [r % (texts - 1) for r in range(requests)] + [texts - 1] * requests
    frames = [requests, decoder["num_codebooks"], num_frames]
    hop = codec["hop_length"]
    return Case(
        ids=ids,
        mask=mask,
        prompt_of_row=torch.tensor(rows),
        frames=torch.randint(decoder["codebook_size"], frames, generator=draw),
        samples=0.5 * torch.randn([requests, codec["channels"], 7 * hop + hop // 2 + 1], generator=draw),
        guidance=guidance if (guidance := manifest["generation_defaults"]["guidance_scale"]) > 1 else 3.0,
    )


# --- transformers' side ---


def site_modules(layer: Any) -> dict[str, tuple[Any, bool]]:
    """Hook point -> (module of transformers' layer, whether it is its input rather than its output)."""
    return {
        "resid_pre": (layer, True),
        "self_attn_heads": (layer.self_attn.out_proj, True),
        "self_attn_out": (layer.self_attn, False),
        "resid_post_self": (layer.encoder_attn_layer_norm, True),
        "cross_attn_heads": (layer.encoder_attn.out_proj, True),
        "cross_attn_out": (layer.encoder_attn, False),
        "resid_post_cross": (layer.final_layer_norm, True),
        "mlp_out": (layer.fc2, False),
        "resid_post": (layer, False),
    }


def first(value: Any) -> Tensor:
    """The tensor, or the first of a tuple."""
    return value[0] if isinstance(value, tuple) else value


def steer_module(module: Any, of_input: bool, steer: Steer) -> Any:
    """Register the forward (pre-)hook in transformers that does what `steer` says."""

    def on_input(_: Any, arguments: tuple[Any, ...]) -> Any:
        return (steer.apply(arguments[0]), *arguments[1:])

    def on_output(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (steer.apply(output[0]), *output[1:])
        return steer.apply(output)

    return module.register_forward_pre_hook(on_input) if of_input else module.register_forward_hook(on_output)


# An added vector reaches a sum through any summand; the norms' inputs can't be edited in transformers.
STEER_THROUGH = {"resid_post_self": "self_attn_out", "resid_post_cross": "cross_attn_out"}


class Recorder:
    """Hooks in transformers' decoder: steering first, so that what is recorded is what was edited."""

    def __init__(self, model: Any, case: Case) -> None:
        self.columns: dict[str, list[Tensor]] = {}
        self.handles: list[Any] = []
        inner = model.decoder.model.decoder
        for steer in case.steer:
            site = STEER_THROUGH.get(steer.site, steer.site)
            self.handles.append(steer_module(*site_modules(inner.layers[steer.layer])[site], steer))
        self.watch(inner.layers[0], True, "decoder.embed")
        for i, layer in enumerate(inner.layers):
            for site, (module, of_input) in site_modules(layer).items():
                self.watch(module, of_input, f"decoder.{i}.{site}")
        self.watch(inner.layer_norm, False, "decoder.final_norm")

    def watch(self, module: Any, of_input: bool, name: str) -> None:
        """Keep what goes into or comes out of `module` under `name`."""

        def keep(*arguments: Any) -> None:
            value = first(arguments[1] if of_input else arguments[2])
            self.columns.setdefault(name, []).append(value.detach().clone())

        register = module.register_forward_pre_hook if of_input else module.register_forward_hook
        self.handles.append(register(keep))

    def finish(self) -> dict[str, Tensor]:
        """Remove every hook; the columns of each name joined: [B, T, ...]."""
        for handle in self.handles:
            handle.remove()
        return {name: torch.cat(parts, dim=1) for name, parts in self.columns.items()}


def delayed_by_transformers(model: Any, frames: Tensor) -> Tensor:
    """Codes [R, K, N] -> the decoder's input [R, K, N + largest delay], by transformers' own pattern."""
    requests, num_codebooks, count = frames.shape
    start = model.generation_config.decoder_start_token_id
    given = torch.cat([torch.full([requests, num_codebooks, 1], start), frames], dim=2)
    lag = num_codebooks // model.config.decoder.audio_channels
    _, pattern = model.decoder.build_delay_pattern_mask(given.flatten(0, 1), start, max_length=count + lag)
    return pattern.view(requests, num_codebooks, -1)


@torch.inference_mode()
def reference(model: Any, case: Case) -> dict[str, Tensor]:
    """Everything that transformers computes on the case; the decoder in cached single steps."""
    states = model.text_encoder(case.ids[:-1], attention_mask=case.mask[:-1]).last_hidden_state
    result = {"text.states": states}
    codes = delayed_by_transformers(model, case.frames)
    result["decoder.codes"] = codes
    codes = torch.cat([codes, codes])
    rows = case.prompt_of_row
    row_states = torch.cat([states, torch.zeros_like(states[:1])])[rows]
    row_mask = case.mask[rows]
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    recorder = Recorder(model, case)
    projected: list[Tensor] = []
    handle = model.decoder.register_forward_pre_hook(
        lambda _, __, named: projected.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    logits = []
    for t in range(codes.size(2)):
        step = model(
            encoder_outputs=(row_states,),
            attention_mask=row_mask,
            decoder_input_ids=codes[:, :, t : t + 1].flatten(0, 1),
            past_key_values=cache,
            use_cache=True,
        )
        logits.append(step.logits.view(codes.size(0), codes.size(1), 1, -1))
    handle.remove()
    result |= recorder.finish()
    result["text.projected"] = projected[0]
    result["logits"] = torch.cat(logits, dim=2)
    guide = ClassifierFreeGuidanceLogitsProcessor(case.guidance)
    half = codes.size(0) // 2
    result["guided"] = guide(torch.zeros([half, 1]), result["logits"])
    encoded = model.audio_encoder.encode(case.samples).audio_codes
    result["codec.codes"] = encoded[0]
    result["codec.samples"] = model.audio_encoder.decode(encoded, [None] * encoded.size(1)).audio_values
    return result


# --- the bundle's side ---


@dataclass
class Modules:
    """The modules of a bundle (scripted or not) and its manifest."""

    text_encoder: Any
    decoder: Any
    codec: Any
    manifest: dict[str, Any]

    @classmethod
    def of(cls, modules: dict[str, Any], manifest: dict[str, Any]) -> Modules:
        """Modules by file name."""
        return cls(*(modules[f"{name}.pt"] for name in ("text_encoder", "decoder", "codec")), manifest)

    @classmethod
    def load(cls, folder: Path) -> Modules:
        """Load the files of a bundle, as the program does."""
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files = ("text_encoder.pt", "decoder.pt", "codec.pt")
        return cls.of({file: torch.jit.load(str(folder / file)) for file in files}, manifest)


def delay(frames: Tensor, delays: list[int], start: int) -> Tensor:
    """Codes [R, K, N] -> the decoder's input: position p holds frame p - 1 - delay, or the start token."""
    requests, num_codebooks, count = frames.shape
    codes = torch.full([requests, num_codebooks, count + 1 + max(delays)], start)
    for k, lag in enumerate(delays):
        codes[:, k, 1 + lag : 1 + lag + count] = frames[:, k]
    return codes


def guided(logits: Tensor, scale: float) -> Tensor:
    """[2 R, K, T, V], conditional rows first -> [R, K, T, V]."""
    conditional, null = logits.chunk(2)
    return null + scale * (conditional - null)


class LayerLoop:
    """The program's loop over the layers, in Python: owns the caches and fires every hook point."""

    def __init__(self, modules: Modules, case: Case, columns: int) -> None:
        self.modules, self.case = modules, case
        self.columns: dict[str, list[Tensor]] = {}
        dims = modules.manifest["decoder"]
        self.layers = list(modules.decoder.layers.children())
        if len(self.layers) != dims["num_layers"]:
            raise ValueError(f"{len(self.layers)} layers where the manifest says {dims['num_layers']}")
        shape = [len(case.prompt_of_row), dims["num_heads"], columns, dims["head_size"]]
        half = modules.manifest["precision"]["decoder"] != "f32"
        # NaN shows any read beyond what was written.
        empty = torch.full(shape, torch.nan, dtype=torch.float16 if half else torch.float32)
        self.caches = [(empty.clone(), empty.clone()) for _ in self.layers]
        self.cross: list[tuple[Tensor, ...]] = []
        self.position = 0

    def hook(self, layer: int, site: str, x: Tensor) -> Tensor:
        """Steer, then record."""
        for steer in self.case.steer:
            if (steer.layer, steer.site) == (layer, site):
                x = steer.apply(x)
        self.columns.setdefault(f"decoder.{layer}.{site}", []).append(x.clone())
        return x

    def project(self, states: Tensor) -> Tensor:
        """Text states [P, S, Dt] -> [P, S, D]; keeps what each row with a text attends to."""
        text = self.modules.decoder.project_text(states, self.case.mask)
        mask, texts = self.case.mask.to(torch.bool), self.case.prompt_of_row
        self.text_rows = mask.any(dim=1)[texts].nonzero().flatten()
        texts = texts[self.text_rows]
        self.text_bias = text_bias(mask[texts])
        self.cross = [tuple(part[texts] for part in layer.cross_kv(text)) for layer in self.layers]
        return text

    def step(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] at the current position -> logits [B, K, T, V]."""
        decoder = self.modules.decoder
        x = decoder.embed(codes, self.position)
        for i, layer in enumerate(self.layers):
            x = self.hook(i, "resid_pre", x)
            if i == 0:
                self.columns.setdefault("decoder.embed", []).append(x.clone())
            z = layer.self_attn(x, *self.caches[i], self.position)
            self.columns.setdefault(f"decoder.{i}.self_attn_heads", []).append(z.flatten(2))
            x = self.hook(i, "resid_post_self", x + self.hook(i, "self_attn_out", layer.self_out(z)))
            z = layer.cross_attn(x, *self.cross[i], self.text_bias, self.text_rows)
            self.columns.setdefault(f"decoder.{i}.cross_attn_heads", []).append(z.flatten(2))
            x = self.hook(i, "resid_post_cross", x + self.hook(i, "cross_attn_out", layer.cross_out(z)))
            x = self.hook(i, "resid_post", x + self.hook(i, "mlp_out", layer.mlp(x)))
        x = decoder.final_norm(x)
        self.columns.setdefault("decoder.final_norm", []).append(x)
        self.position += codes.size(2)
        return decoder.logits(x)


@torch.inference_mode()
def replay(modules: Modules, case: Case, chunks: list[int] | int = 1) -> dict[str, Tensor]:
    """What the bundle computes on the case; `chunks`: positions a call."""
    dims = modules.manifest["decoder"]
    states = modules.text_encoder(case.ids[:-1], case.mask[:-1])
    codes = delay(case.frames, dims["delays"], dims["start_token"])
    result = {"text.states": states, "decoder.codes": codes}
    codes = torch.cat([codes, codes])
    loop = LayerLoop(modules, case, columns=codes.size(2) + 3)
    projected = loop.project(torch.cat([states, torch.zeros_like(states[:1])]))
    result["text.projected"] = projected[case.prompt_of_row]
    logits = [loop.step(part) for part in codes.split(chunks, dim=2)]
    result |= {name: torch.cat(parts, dim=1) for name, parts in loop.columns.items()}
    result["logits"] = torch.cat(logits, dim=2)
    result["guided"] = guided(result["logits"], case.guidance)
    codec = modules.codec
    result["codec.codes"] = codec.encode(case.samples)
    state = codec.initial_state(case.samples.size(0))
    latent, _ = codec.run_lstm(codec.lstm_input(result["codec.codes"]), state)
    result["codec.samples"] = codec.decode_wave(latent)
    return result


# --- the comparison ---


@dataclass(frozen=True)
class Difference:
    """One tensor's largest error, as a share of the reference's largest value."""

    name: str
    share: float
    ok: bool
    remark: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.remark or f'error {self.share:.1e} of the largest value'}"


def difference(name: str, expected: Tensor, actual: Tensor | None, bound: float) -> Difference:
    """Compare one tensor."""
    if actual is None:
        return Difference(name, torch.inf, False, "missing")
    if actual.shape != expected.shape:
        return Difference(name, torch.inf, False, f"shape {list(actual.shape)}, not {list(expected.shape)}")
    if not expected.is_floating_point():
        unequal = int((expected != actual).sum())
        return Difference(name, float(unequal), unequal == 0, f"{unequal} unequal" if unequal else "equal")
    error = float((actual.double() - expected.double()).abs().max())
    share = error / max(float(expected.abs().max()), 1e-30)
    return Difference(name, share, share <= bound)  # a NaN is not <= anything


def compare(expected: dict[str, Tensor], actual: dict[str, Tensor], bound: float = BOUND) -> list[Difference]:
    """Every tensor of the reference against the bundle's, in the reference's order."""
    return [difference(name, tensor, actual.get(name), bound) for name, tensor in expected.items()]
