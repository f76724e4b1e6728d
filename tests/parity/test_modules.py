"""Every module of a bundle against transformers, on random checkpoints that differ in everything."""

from __future__ import annotations

import pytest
import torch
from loaded import NAMES, differences, load_shape, modules_of

from musicsteer.torchscript.parity import compare
from musicsteer.torchscript.parity_case import Case, Steer, make_case
from musicsteer.torchscript.reference import reference
from musicsteer.torchscript.replay import guided, replay

shapes = pytest.mark.parametrize("name", NAMES)


def failures(expected: dict[str, torch.Tensor], actual: dict[str, torch.Tensor]) -> list[str]:
    return [str(line) for line in compare(expected, actual) if not line.ok]


@shapes
@pytest.mark.parametrize("requests", [1, 3])
def test_everything_agrees_in_single_steps_and_in_one_call(name: str, requests: int) -> None:
    loaded = load_shape(name)
    lines = differences(loaded, modules_of(name), seed=requests, requests=requests)
    assert [str(line) for line in lines if not line.ok] == []
    compared = {line.name for line in lines}
    for i in range(loaded.manifest["decoder"]["num_layers"]):
        assert len([key for key in compared if key.startswith(f"decoder.{i}.")]) == 9, "every hook point"
    assert {
        "decoder.embed",
        "decoder.final_norm",
        "text.states",
        "logits",
        "guided",
        "codec.codes",
    } <= compared


@shapes
def test_a_prefix_in_one_call_equals_single_steps(name: str) -> None:
    loaded = load_shape(name)
    case = make_case(loaded.manifest, seed=5, requests=2, num_frames=14)
    single = replay(modules_of(name), case)
    positions = single["decoder.codes"].size(2)
    for chunks in ([positions], [6, positions - 6], [1, 4, positions - 6, 1]):
        assert failures(single, replay(modules_of(name), case, chunks)) == []


def vectors(case: Case, hidden: int, layers: int) -> list[Steer]:
    """Additions at every kind of site, on conditional rows, null rows, and both."""
    draw = torch.Generator().manual_seed(7)
    half, both = len(case.prompt_of_row) // 2, len(case.prompt_of_row)
    places = [
        (0, "resid_pre", (0, half)),
        (0, "self_attn_out", (0, both)),
        (0, "mlp_out", (half, both)),
        (layers - 1, "resid_post_self", (0, half)),
        (layers - 1, "cross_attn_out", (half, both)),
        (layers - 1, "resid_post_cross", (0, both)),
        (layers // 2, "resid_post", (0, both)),
    ]
    return [Steer(i, site, 3.0 * torch.randn(hidden, generator=draw), rows) for i, site, rows in places]


@shapes
def test_steering_does_what_forward_hooks_do(name: str) -> None:
    loaded = load_shape(name)
    case = make_case(loaded.manifest, seed=9)
    plain = reference(loaded.model, case)
    case.steer = vectors(
        case, loaded.manifest["decoder"]["hidden_size"], loaded.manifest["decoder"]["num_layers"]
    )
    expected = reference(loaded.model, case)
    assert (expected["logits"] - plain["logits"]).abs().max() > 0.1 * plain["logits"].abs().max()
    actual = replay(modules_of(name), case)
    # Where a sum is steered, the summand that transformers was steered through differs by the vector.
    carriers = [f"decoder.{s.layer}.{s.site}" for s in case.steer if s.site.startswith("resid_post_")]
    for carrier in carriers:
        summand = {"resid_post_self": "self_attn_out", "resid_post_cross": "cross_attn_out"}[
            carrier.split(".")[2]
        ]
        del expected[f"{carrier.rsplit('.', 1)[0]}.{summand}"]
    assert failures(expected, actual) == []


@shapes
def test_a_text_without_a_token_adds_exactly_nothing(name: str) -> None:
    modules, case = modules_of(name), make_case(load_shape(name).manifest, seed=2)
    result = replay(modules, case)
    null = case.prompt_of_row == len(case.ids) - 1
    assert torch.equal(result["text.projected"][null], torch.zeros_like(result["text.projected"][null]))
    heads = result["decoder.0.cross_attn_heads"]
    assert torch.equal(heads[null], torch.zeros_like(heads[null]))
    assert heads[~null].abs().max() > 0
    # ... also where no row of the batch has a text.
    layer = next(iter(modules.decoder.layers.children()))
    dims = load_shape(name).manifest["decoder"]
    x = torch.randn(1, 2, dims["hidden_size"])
    text = torch.randn(0, dims["num_heads"], 5, dims["head_size"])
    z = layer.cross_attn(x, text, text, torch.zeros(0, 1, 1, 5), torch.zeros(0, dtype=torch.int64))
    assert torch.equal(z, torch.zeros_like(z))


@shapes
def test_positions_end_at_the_table(name: str) -> None:
    dims, decoder = load_shape(name).manifest["decoder"], modules_of(name).decoder
    codes = torch.zeros(1, dims["num_codebooks"], 2, dtype=torch.int64)
    assert torch.isfinite(decoder.embed(codes, dims["max_positions"] - 2)).all()
    with pytest.raises(RuntimeError):
        decoder.embed(codes, dims["max_positions"] - 1)


@shapes
@torch.inference_mode()
def test_text_states_of_long_and_of_single_tokens(name: str) -> None:
    loaded, draw = load_shape(name), torch.Generator().manual_seed(3)
    for texts, length in [(1, 1), (1, 180), (4, 40)]:
        ids = torch.randint(3, loaded.manifest["text_encoder"]["vocab_size"], [texts, length], generator=draw)
        mask = torch.ones_like(ids)
        for p in range(texts):
            mask[p, length - p * length // texts :] = 0
        expected = loaded.model.text_encoder(ids, attention_mask=mask).last_hidden_state
        assert failures({"states": expected}, {"states": modules_of(name).text_encoder(ids, mask)}) == []


@shapes
@torch.inference_mode()
def test_codec_at_every_length(name: str) -> None:
    loaded, codec, draw = load_shape(name), modules_of(name).codec, torch.Generator().manual_seed(4)
    dims = loaded.manifest["codec"]
    hop, channels = dims["hop_length"], dims["channels"]
    lengths = [(1, 5 * hop), (3, 5 * hop + 1), (1, 6 * hop - 1)]
    if loaded.model.config.audio_encoder.pad_mode != "circular":  # torch can't wrap around twice, in either
        lengths += [(2, hop), (1, 1), (1, 2), (1, hop + 2)]
    for batch, length in lengths:
        samples = torch.randn([batch, channels, length], generator=draw)
        expected = loaded.model.audio_encoder.encode(samples).audio_codes
        codes = codec.encode(samples)
        assert torch.equal(codes, expected[0]), f"{batch} clips of {length} samples"
        assert codes.shape == (batch, dims["num_codebooks"], -(-length // hop))
        wave = loaded.model.audio_encoder.decode(expected, [None] * batch).audio_values
        latent, _ = codec.run_lstm(codec.lstm_input(codes), codec.initial_state(batch))
        assert latent.size(1) == dims["lstm_width"]
        assert failures({"samples": wave}, {"samples": codec.decode_wave(latent)}) == []


@shapes
@torch.inference_mode()
def test_lstm_state_carries_over(name: str) -> None:
    """Two halves of the LSTM's input give what the whole gives."""
    loaded, codec, draw = load_shape(name), modules_of(name).codec, torch.Generator().manual_seed(6)
    dims = loaded.manifest["codec"]
    x = torch.randn([2, dims["lstm_width"], 12], generator=draw)
    whole, (h, c) = codec.decoder_lstm(x, codec.initial_state(2))
    assert h.shape == c.shape == (dims["lstm_layers"], 2, dims["lstm_width"])
    early, state = codec.decoder_lstm(x[:, :, :5], codec.initial_state(2))
    late, (last_h, last_c) = codec.decoder_lstm(x[:, :, 5:], state)
    assert (
        failures(
            {"latent": whole, "h": h, "c": c},
            {"latent": torch.cat([early, late], dim=2), "h": last_h, "c": last_c},
        )
        == []
    )


@torch.inference_mode()
def greedy_codes(name: str, prompts: torch.Tensor, num_frames: int = 40) -> torch.Tensor:
    """Delayed codes [P, K, steps] that transformers chooses for each prompt [P, S], with guidance 3."""
    model = load_shape(name).model
    model.generation_config.pad_token_id = model.generation_config.decoder_start_token_id
    states = model.text_encoder(prompts).last_hidden_state
    rows = torch.cat([states, torch.zeros_like(states)])
    mask = torch.cat([torch.ones_like(prompts), torch.zeros_like(prompts)])
    start = model.generation_config.decoder_start_token_id
    codes = torch.full([len(prompts), model.config.decoder.num_codebooks, 1], start)
    for _ in range(num_frames):
        flat = codes.repeat(2, 1, 1).flatten(0, 1)
        step = model(encoder_outputs=(rows,), attention_mask=mask, decoder_input_ids=flat)
        logits = step.logits[:, -1].view(2 * len(prompts), codes.size(1), 1, -1)
        codes = torch.cat([codes, guided(logits, 3.0).argmax(-1)], dim=2)
    return codes[:, :, 1:]


@shapes
def test_the_checkpoint_is_lively(name: str) -> None:
    """Parity on a model whose prompt changes nothing would prove nothing."""
    vocabulary = load_shape(name).manifest["text_encoder"]["vocab_size"]
    prompts = torch.randint(3, vocabulary, [2, 6], generator=torch.Generator().manual_seed(8))
    first, second = greedy_codes(name, prompts)
    assert (first != second).float().mean() >= 0.2
    assert first.unique().numel() >= 10, "the codes are not stuck"
