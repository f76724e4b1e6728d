"""The modules of melody checkpoints against transformers, and mistakes that have to be noticed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loaded import MELODY_NAMES, differences, load_shape, modules_of
from mutation_kit import Mutation, Patch, injected
from torch import Tensor

from musicsteer.torchscript import layer_loop, prefix_decoder
from musicsteer.torchscript.parity import BOUND, compare
from musicsteer.torchscript.parity_case import Steer, make_case
from musicsteer.torchscript.reference import reference
from musicsteer.torchscript.replay import replay

shapes = pytest.mark.parametrize("name", MELODY_NAMES)


def failures(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> list[str]:
    return [str(line) for line in compare(expected, actual) if not line.ok]


@shapes
@pytest.mark.parametrize("requests", [1, 3])
def test_everything_agrees_in_single_steps_and_in_one_call(name: str, requests: int) -> None:
    lines = differences(load_shape(name), modules_of(name), seed=requests, requests=requests)
    assert [str(line) for line in lines if not line.ok] == []
    compared = {line.name for line in lines}
    for i in range(load_shape(name).manifest["decoder"]["num_layers"]):
        assert len([key for key in compared if key.startswith(f"decoder.{i}.")]) == 7, "every hook point"
    assert {"prefix.0", "decoder.embed", "decoder.final_norm", "text.states", "logits", "guided"} <= compared


@shapes
def test_melodies_of_any_length_and_none(name: str) -> None:
    loaded = load_shape(name)
    case = make_case(loaded.manifest, seed=3)
    length = loaded.manifest["conditioning"]["chroma_length"]
    draw, heard = torch.Generator().manual_seed(4), []
    for frames in (None, 1, length, 2 * length + 3):
        classes = None if frames is None else torch.randint(12, [frames], generator=draw)
        case.melody = None if classes is None else torch.eye(12)[classes]
        expected = reference(loaded.model, case)
        assert failures(expected, replay(modules_of(name), case)) == []
        heard.append(expected["logits"][:2])
    for other in heard[1:]:
        assert (other - heard[0]).abs().max() > 0.05 * heard[0].abs().max(), "a melody changes something"


@shapes
def test_steering_leaves_the_prefix_alone(name: str) -> None:
    loaded, draw = load_shape(name), torch.Generator().manual_seed(7)
    case = make_case(loaded.manifest, seed=9)
    plain = reference(loaded.model, case)
    dims = loaded.manifest["decoder"]
    places = [
        (0, "resid_pre", (0, 2)),
        (0, "self_attn_out", (0, 4)),
        (dims["num_layers"] - 1, "mlp_out", (2, 4)),
        (dims["num_layers"] // 2, "resid_post", (0, 4)),
    ]
    size = dims["hidden_size"]
    case.steer = [Steer(i, site, torch.randn(size, generator=draw), rows) for i, site, rows in places]
    expected = reference(loaded.model, case)
    assert (expected["logits"] - plain["logits"]).abs().max() > 0.1 * plain["logits"].abs().max()
    assert failures(expected, replay(modules_of(name), case)) == []


MISTAKES: list[Mutation] = []


def mistake(shape: str) -> Any:
    """Register a function that injects a mistake."""

    def register(inject: Any) -> Any:
        MISTAKES.append(Mutation(inject.__name__, shape, inject))
        return inject

    return register


def replace_embed_prefix(patch: Patch, body: Any) -> None:
    patch(prefix_decoder.PrefixDecoder, "embed_prefix", body)


@mistake("melody-mono")
def text_before_melody(patch: Patch) -> None:
    @torch.jit.export
    def embed_prefix(self, chroma: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        melody = self.chroma_projection(chroma)
        repeats = (self.chroma_length + melody.size(1) - 1) // melody.size(1)
        melody = melody.tile([1, repeats, 1]).narrow(1, 0, self.chroma_length)
        text = self.text_projection(states).masked_fill(~mask.to(torch.bool).unsqueeze(-1), 0.0)
        x = torch.cat([text, melody], dim=1)
        return x + self.positions.narrow(0, 0, x.size(1))

    replace_embed_prefix(patch, embed_prefix)


@mistake("melody-mono")
def positions_begin_at_one(patch: Patch) -> None:
    @torch.jit.export
    def embed_prefix(self, chroma: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        melody = self.chroma_projection(chroma)
        repeats = (self.chroma_length + melody.size(1) - 1) // melody.size(1)
        melody = melody.tile([1, repeats, 1]).narrow(1, 0, self.chroma_length)
        text = self.text_projection(states).masked_fill(~mask.to(torch.bool).unsqueeze(-1), 0.0)
        x = torch.cat([melody, text], dim=1)
        return x + self.positions.narrow(0, 1, x.size(1))

    replace_embed_prefix(patch, embed_prefix)


@mistake("melody-mono")
def null_text_keeps_its_bias(patch: Patch) -> None:
    @torch.jit.export
    def embed_prefix(self, chroma: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        melody = self.chroma_projection(chroma)
        repeats = (self.chroma_length + melody.size(1) - 1) // melody.size(1)
        melody = melody.tile([1, repeats, 1]).narrow(1, 0, self.chroma_length)
        x = torch.cat([melody, self.text_projection(states)], dim=1)
        return x + self.positions.narrow(0, 0, x.size(1))

    replace_embed_prefix(patch, embed_prefix)


@mistake("melody-stereo")
def short_melody_is_not_repeated(patch: Patch) -> None:
    @torch.jit.export
    def embed_prefix(self, chroma: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        count = min(chroma.size(1), self.chroma_length)
        rest = torch.zeros([chroma.size(0), self.chroma_length - count, chroma.size(2)])
        melody = self.chroma_projection(torch.cat([chroma[:, :count], rest], dim=1))
        text = self.text_projection(states).masked_fill(~mask.to(torch.bool).unsqueeze(-1), 0.0)
        x = torch.cat([melody, text], dim=1)
        return x + self.positions.narrow(0, 0, x.size(1))

    replace_embed_prefix(patch, embed_prefix)


@mistake("melody-mono")
def codes_begin_at_position_zero(patch: Patch) -> None:
    @torch.jit.export
    def embed(self, codes: Tensor, position: Tensor) -> Tensor:
        first = int((position - position.min()).min().item())
        return self.sum_of_codes(codes) + self.positions.narrow(0, first, codes.size(2))

    patch(prefix_decoder.PrefixDecoder, "embed", embed)


@mistake("melody-mono")
def rows_share_the_longest_prefix(patch: Patch) -> None:
    @torch.jit.export
    def embed(self, codes: Tensor, position: Tensor) -> Tensor:
        first = int(position.max().item())
        return self.sum_of_codes(codes) + self.positions.narrow(0, first, codes.size(2))

    patch(prefix_decoder.PrefixDecoder, "embed", embed)


@mistake("melody-mono")
def free_slots_are_seen(patch: Patch) -> None:
    honest = layer_loop.PrefixLoop.begin

    def begin(self: Any, states: Tensor) -> dict[str, Tensor]:
        found = honest(self, states)
        self.bias.zero_()
        return found

    patch(layer_loop.PrefixLoop, "begin", begin)


@mistake("melody-mono")
def null_row_hears_the_melody(patch: Patch) -> None:
    patch(layer_loop.PrefixLoop, "chroma", lambda self, is_null: self.case.melody.unsqueeze(0))


@mistake("melody-narrow")
def null_melody_is_silence(patch: Patch) -> None:
    honest = layer_loop.PrefixLoop.chroma

    def chroma(self: Any, is_null: bool) -> Tensor:
        return torch.zeros(1, 1, 12) if is_null else honest(self, is_null)

    patch(layer_loop.PrefixLoop, "chroma", chroma)


@mistake("melody-mono")
def chroma_is_not_one_hot(patch: Patch) -> None:
    honest = layer_loop.PrefixLoop.chroma

    def chroma(self: Any, is_null: bool) -> Tensor:
        found = honest(self, is_null)
        return found if is_null else 0.9 * found + 0.01

    patch(layer_loop.PrefixLoop, "chroma", chroma)


@pytest.mark.parametrize("mutation", MISTAKES, ids=lambda mutation: mutation.name)
def test_a_mistake_is_noticed(mutation: Mutation) -> None:
    loaded = load_shape(mutation.shape)
    with injected(mutation, loaded.manifest):
        modules = loaded.modules()
        noticed = [line for line in differences(loaded, modules) if not line.ok]
    assert noticed, f"{mutation.name} passes the comparison"
    assert max(line.share for line in noticed) > 3 * BOUND
