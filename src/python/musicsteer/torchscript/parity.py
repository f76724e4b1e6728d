"""Comparing a bundle with transformers: one case, both sides' tensors by name, and the differences.

Names are those of the hook points (`decoder.{i}.{site}`) and of what lies around them. Every tensor has to
agree to BOUND times the reference's largest value; integers have to be equal.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ClassifierFreeGuidanceLogitsProcessor, DynamicCache, EncoderDecoderCache

from musicsteer.torchscript.decoder import text_bias
from musicsteer.torchscript.melody import NUM_CHROMA

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

    def of_request(self, request: int, requests: int) -> list[Steer]:
        """The same, on the two rows that a request has by itself."""
        first, last = self.rows
        own = [first <= row < last for row in (request, requests + request)]
        return [replace(self, rows=(row, row + 1)) for row in (0, 1) if own[row]]


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
    melody: Tensor | None = None  # [F, 12] one-hot chroma, for the conditional rows of a model with a prefix


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
        melody=make_melody(manifest["conditioning"], draw),
    )


def make_melody(conditioning: dict[str, Any], draw: torch.Generator) -> Tensor | None:
    """Random one-hot chroma that is repeated two and a half times or so; None for a model that hears none."""
    if conditioning["type"] != "prefix":
        return None
    frames = max(2, 2 * conditioning["chroma_length"] // 5)
    return torch.eye(NUM_CHROMA)[torch.randint(NUM_CHROMA, [frames], generator=draw)]


# --- transformers' side ---


def site_modules(layer: Any) -> dict[str, tuple[Any, bool]]:
    """Hook point -> (module of transformers' layer, whether it is its input rather than its output)."""
    sites = {
        "resid_pre": (layer, True),
        "self_attn_heads": (layer.self_attn.out_proj, True),
        "self_attn_out": (layer.self_attn, False),
        "resid_post_self": (layer.final_layer_norm, True),
        "resid_post_cross": (layer.final_layer_norm, True),
        "mlp_out": (layer.fc2, False),
        "resid_post": (layer, False),
    }
    if hasattr(layer, "encoder_attn"):  # melody checkpoints have no cross-attention
        sites["resid_post_self"] = (layer.encoder_attn_layer_norm, True)
        sites["cross_attn_heads"] = (layer.encoder_attn.out_proj, True)
        sites["cross_attn_out"] = (layer.encoder_attn, False)
    return sites


def first(value: Any) -> Tensor:
    """The tensor, or the first of a tuple."""
    return value[0] if isinstance(value, tuple) else value


def steer_module(module: Any, of_input: bool, steer: Steer) -> Any:
    """Register the forward (pre-)hook in transformers that does what `steer` says."""

    def edited(x: Tensor) -> Tensor:  # a prefix, which the first call takes too, is left alone
        return torch.cat([x[:, :-1], steer.apply(x[:, -1:])], dim=1)

    def on_input(_: Any, arguments: tuple[Any, ...]) -> Any:
        return (edited(arguments[0]), *arguments[1:])

    def on_output(_: Any, __: Any, output: Any) -> Any:
        return (edited(output[0]), *output[1:]) if isinstance(output, tuple) else edited(output)

    return module.register_forward_pre_hook(on_input) if of_input else module.register_forward_hook(on_output)


def steered_through(site: str, has_cross: bool) -> str:
    """The site through which transformers is steered: an added vector reaches a sum through any summand, and
    the norms' inputs can't be edited there."""
    if site == "resid_post_self":
        return "self_attn_out"
    if site in ("resid_post_cross", "cross_attn_out"):
        return "cross_attn_out" if has_cross else "self_attn_out"
    return site


class Recorder:
    """Hooks in transformers' decoder: steering first, so that what is recorded is what was edited.

    The columns of a prefix are kept apart.
    """

    def __init__(self, model: Any, steers: list[Steer]) -> None:
        self.columns: dict[str, list[Tensor]] = {}
        self.handles: list[Any] = []
        inner = model.decoder.model.decoder
        self.prefix = torch.empty(0)
        for steer in steers:
            sites = site_modules(inner.layers[steer.layer])
            site = steered_through(steer.site, "cross_attn_out" in sites)
            self.handles.append(steer_module(*sites[site], steer))
        self.watch(inner.layers[0], True, "decoder.embed")
        for i, layer in enumerate(inner.layers):
            for site, (module, of_input) in site_modules(layer).items():
                self.watch(module, of_input, f"decoder.{i}.{site}")
        self.watch(inner.layer_norm, False, "decoder.final_norm")

    def watch(self, module: Any, of_input: bool, name: str) -> None:
        """Keep what goes into or comes out of `module` under `name`."""

        def keep(*arguments: Any) -> None:
            value = first(arguments[1] if of_input else arguments[2])
            if name == "decoder.embed" and value.size(1) > 1:
                self.prefix = value[:, :-1].detach().clone()
            self.columns.setdefault(name, []).append(value[:, -1:].detach().clone())

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
    decoded = decode_by_prefix if model.config.model_type == "musicgen_melody" else decode_by_cross_attention
    result = decoded(model, case)
    guide = ClassifierFreeGuidanceLogitsProcessor(case.guidance)
    half = result["logits"].size(0) // 2
    result["guided"] = guide(torch.zeros([half, 1]), result["logits"])
    encoded = model.audio_encoder.encode(case.samples).audio_codes
    result["codec.codes"] = encoded[0]
    result["codec.samples"] = model.audio_encoder.decode(encoded, [None] * encoded.size(1)).audio_values
    return result


def decode_by_prefix(model: Any, case: Case) -> dict[str, Tensor]:
    """The decoder on a prefix, request by request: transformers would attend to the padding of a batch."""
    codes = delayed_by_transformers(model, case.frames)
    requests = codes.size(0)
    found: list[dict[str, Tensor]] = []
    for request in range(requests):
        text = case.prompt_of_row[request]
        ids = case.ids[text : text + 1, : int(case.mask[text].sum())]
        recorder = Recorder(
            model, [own for steer in case.steer for own in steer.of_request(request, requests)]
        )
        told = told_by_transformers(model, ids, case.melody)
        found.append(decode_told(model, told, codes[request : request + 1].repeat(2, 1, 1)))
        found[-1] |= recorder.finish() | {f"prefix.{request}": recorder.prefix}
    result = {name: tensor for one in found for name, tensor in one.items() if name.startswith("prefix.")}
    for name in found[0]:
        if not name.startswith("prefix."):  # conditional rows, then null rows
            result[name] = torch.cat([one[name][row : row + 1] for row in (0, 1) for one in found])
    states = model.text_encoder(case.ids[:-1], attention_mask=case.mask[:-1]).last_hidden_state
    return {"text.states": states, "decoder.codes": codes} | result


def told_by_transformers(model: Any, ids: Tensor, melody: Tensor | None, guided: bool = True) -> Tensor:
    """What `generate` puts in front of the codes of a text [1, S]: [1, length, D], with guidance [2, ...]."""
    settings = copy.deepcopy(model.generation_config)
    settings.guidance_scale = 3.0 if guided else None
    told = {"attention_mask": torch.ones_like(ids)}
    if melody is not None:
        told["input_features"] = melody.unsqueeze(0)
    return model._prepare_encoder_hidden_states_kwargs_for_generation(ids, told, "input_ids", settings)[
        "encoder_hidden_states"
    ]


def decode_told(model: Any, told: Tensor, codes: Tensor) -> dict[str, Tensor]:
    """The logits of codes [B, K, T] in cached single steps; the conditioning enters with the first one."""
    cache, logits = EncoderDecoderCache(DynamicCache(), DynamicCache()), []
    for t in range(codes.size(2)):
        step = model(
            encoder_hidden_states=told if t == 0 else None,
            decoder_input_ids=codes[:, :, t : t + 1].flatten(0, 1),
            past_key_values=cache,
            use_cache=True,
        )
        logits.append(step.logits.view(codes.size(0), codes.size(1), -1, step.logits.size(-1))[:, :, -1:])
    return {"logits": torch.cat(logits, dim=2)}


def decode_by_cross_attention(model: Any, case: Case) -> dict[str, Tensor]:
    """The decoder with cross-attention to the text, in one batch."""
    states = model.text_encoder(case.ids[:-1], attention_mask=case.mask[:-1]).last_hidden_state
    result = {"text.states": states}
    codes = delayed_by_transformers(model, case.frames)
    result["decoder.codes"] = codes
    codes = torch.cat([codes, codes])
    rows = case.prompt_of_row
    row_states = torch.cat([states, torch.zeros_like(states[:1])])[rows]
    row_mask = case.mask[rows]
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    recorder = Recorder(model, case.steer)
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
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> Modules:
        """Load the files of a bundle onto a device, as the program does."""
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files = ("text_encoder.pt", "decoder.pt", "codec.pt")
        return cls.of({file: torch.jit.load(str(folder / file), device) for file in files}, manifest)


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
        self.slots = self.prefix_slots()
        shape = [len(case.prompt_of_row), dims["num_heads"], self.slots + columns, dims["head_size"]]
        half = modules.manifest["precision"]["decoder"] != "f32"
        # NaN shows any read beyond what was written.
        empty = torch.full(shape, torch.nan, dtype=torch.float16 if half else torch.float32)
        self.caches = [(empty.clone(), empty.clone()) for _ in self.layers]
        self.position = 0

    def prefix_slots(self) -> int:
        """Slots of the cache in front of the codes."""
        return 0

    def hook(self, layer: int, site: str, x: Tensor) -> Tensor:
        """Steer, then record."""
        for steer in self.case.steer:
            if (steer.layer, steer.site) == (layer, site):
                x = steer.apply(x)
        self.columns.setdefault(f"decoder.{layer}.{site}", []).append(x.clone())
        return x

    def begin(self, states: Tensor) -> dict[str, Tensor]:
        """Give every row its text, of states [P, S, Dt]. Returns the tensors to compare."""
        text = self.modules.decoder.project_text(states, self.case.mask)
        mask, texts = self.case.mask.to(torch.bool), self.case.prompt_of_row
        self.text_rows = mask.any(dim=1)[texts].nonzero().flatten()
        texts = texts[self.text_rows]
        self.text_bias = text_bias(mask[texts])
        self.cross = [tuple(part[texts] for part in layer.cross_kv(text)) for layer in self.layers]
        return {"text.projected": text[self.case.prompt_of_row]}

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] at the current position -> [B, T, D]."""
        return self.modules.decoder.embed(codes, self.position)

    def self_attn(self, i: int, x: Tensor) -> Tensor:
        """[B, T, D] -> heads [B, T, H, hd]."""
        return self.layers[i].self_attn(x, *self.caches[i], self.position)

    def cross_attn(self, i: int, x: Tensor) -> Tensor:
        """[B, T, D] -> what is added to it."""
        z = self.layers[i].cross_attn(x, *self.cross[i], self.text_bias, self.text_rows)
        self.columns.setdefault(f"decoder.{i}.cross_attn_heads", []).append(z.flatten(2))
        return self.layers[i].cross_out(z)

    def step(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] at the current position -> logits [B, K, T, V]."""
        decoder = self.modules.decoder
        x = self.embed(codes)
        for i, layer in enumerate(self.layers):
            x = self.hook(i, "resid_pre", x)
            if i == 0:
                self.columns.setdefault("decoder.embed", []).append(x.clone())
            z = self.self_attn(i, x)
            self.columns.setdefault(f"decoder.{i}.self_attn_heads", []).append(z.flatten(2))
            x = self.hook(i, "resid_post_self", x + self.hook(i, "self_attn_out", layer.self_out(z)))
            x = self.hook(i, "resid_post_cross", x + self.hook(i, "cross_attn_out", self.cross_attn(i, x)))
            x = self.hook(i, "resid_post", x + self.hook(i, "mlp_out", layer.mlp(x)))
        x = decoder.final_norm(x)
        self.columns.setdefault("decoder.final_norm", []).append(x)
        self.position += codes.size(2)
        return decoder.logits(x)


class PrefixLoop(LayerLoop):
    """The same for a model with a prefix: each row's own, with its end at the first code."""

    def prefix_slots(self) -> int:
        """Those of the longest prefix."""
        return self.modules.manifest["conditioning"]["chroma_length"] + self.case.ids.size(1)

    def begin(self, states: Tensor) -> dict[str, Tensor]:
        """Read every row's prefix; a null text is as long as the prompt whose place it takes."""
        case, rows = self.case, len(self.case.prompt_of_row)
        self.length = torch.zeros(rows, dtype=torch.int64)
        self.bias = torch.zeros(rows, 1, 1, self.caches[0][0].size(2))
        found: list[Tensor] = []
        for row in range(rows):
            is_null = row >= rows // 2
            text = case.prompt_of_row[
                row - rows // 2 if is_null else row
            ]  # a null text is as long as its prompt
            count = int(case.mask[text].sum())
            mask = torch.full([1, count], not is_null)
            x = self.modules.decoder.embed_prefix(
                self.chroma(is_null), states[text : text + 1, :count] * mask.unsqueeze(-1), mask
            )
            found.append(x)
            free = self.slots - x.size(1)
            self.length[row] = x.size(1)
            self.bias[row, :, :, :free] = -torch.inf
            self.read(row, x, free)
        half = rows // 2
        return {f"prefix.{r}": torch.cat([found[r], found[half + r]]) for r in range(half)}

    def chroma(self, is_null: bool) -> Tensor:
        """The melody [1, F, 12], or what stands for none."""
        if self.case.melody is not None and not is_null:
            return self.case.melody.unsqueeze(0)
        return torch.eye(NUM_CHROMA)[:1].unsqueeze(0)

    def read(self, row: int, x: Tensor, free: int) -> None:
        """Run the layers on a prefix [1, length, D], into the row's slots from `free` on."""
        for layer, (keys, values) in zip(self.layers, self.caches, strict=True):
            own = [torch.empty_like(cache[:1, :, : x.size(1)]) for cache in (keys, values)]
            x = x + layer.self_out(layer.self_attn(x, *own, 0))
            x = x + layer.mlp(x)
            for cache, part in zip((keys, values), own, strict=True):
                cache[row, :, :free] = 0
                cache[row, :, free : self.slots] = part[0]

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] at the current position, counted from each row's prefix -> [B, T, D]."""
        return self.modules.decoder.embed(codes, self.length + self.position)

    def self_attn(self, i: int, x: Tensor) -> Tensor:
        """[B, T, D] -> heads [B, T, H, hd]."""
        first = self.slots + self.position
        return self.layers[i].self_attn(x, *self.caches[i], first, self.bias[..., : first + x.size(1)])

    def cross_attn(self, i: int, x: Tensor) -> Tensor:
        """Nothing."""
        return torch.zeros_like(x)


def loop_over_layers(modules: Modules, case: Case, columns: int) -> LayerLoop:
    """The loop for the bundle's kind of conditioning."""
    kind = {"cross": LayerLoop, "prefix": PrefixLoop}[modules.manifest["conditioning"]["type"]]
    return kind(modules, case, columns)


@torch.inference_mode()
def replay(modules: Modules, case: Case, chunks: list[int] | int = 1) -> dict[str, Tensor]:
    """What the bundle computes on the case; `chunks`: positions a call."""
    dims = modules.manifest["decoder"]
    states = modules.text_encoder(case.ids[:-1], case.mask[:-1])
    codes = delay(case.frames, dims["delays"], dims["start_token"])
    result = {"text.states": states, "decoder.codes": codes}
    codes = torch.cat([codes, codes])
    loop = loop_over_layers(modules, case, columns=codes.size(2) + 3)
    result |= loop.begin(torch.cat([states, torch.zeros_like(states[:1])]))
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
