"""`musicsteer patch` and `generate --score` end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from program import ROOT, Runner

SHORT = ["--duration", "0.05", "--threads", "1"]
PAIRS = ["--prompts", ROOT / "prompts" / "tempo.json", "--limit", "2"]
LAYERS = 3


def results(path: Path, quantity: str) -> dict[tuple[str, int | None], float]:
    content = json.loads(path.read_text())
    return {(r["site"], r["layer"]): r[quantity]["value"] for r in content["results"]}


def test_nothing_is_0_and_everything_is_1(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    outputs = ["--out", "p.json", "--csv", "p.csv"]
    done = musicsteer("patch", "--model", bundle, *PAIRS, *outputs, *SHORT)
    assert (done.code, done.errors) == (0, []), done.err
    assert "resid_post" in done.out and done.out.endswith("wrote p.json\n")
    recovered = results(tmp_path / "p.json", "recovered")
    assert len(recovered) == 8 * (LAYERS + 1)
    # Before the first cross-attention the prompt has had no say; after the last layer nothing else has.
    for site in ("resid_pre", "self_attn_heads", "self_attn_out", "resid_post_self"):
        assert abs(recovered[site, 0]) < 1e-5
    assert abs(recovered["resid_post", LAYERS - 1] - 1) < 1e-5
    # The prompt enters through cross-attention alone.
    assert abs(recovered["cross_attn_out", None] - 1) < 1e-4
    between = recovered["cross_attn_out", 0]
    assert 0.01 < abs(between) and abs(between - 1) > 0.01
    with (tmp_path / "p.csv").open() as file:
        table = {(row["site"], row["layer"]): row for row in csv.DictReader(file)}
    assert float(table["resid_post", "2"]["recovered"]) == recovered["resid_post", 2]
    low, high = table["mlp_out", "all"]["low"], table["mlp_out", "all"]["high"]
    if low:
        assert float(low) <= float(high)
    else:  # two pairs: whether there is anything to recover may not be told from chance
        assert high == "" and "no intervals" in done.err
    heading, *lines = (line.split() for line in done.out.splitlines() if not line.startswith("wrote"))
    assert heading == ["layer", "0", "1", "2", "all"] and len(lines) == 8
    assert dict((site, shares) for site, *shares in lines)["resid_post"][2] == "1.000"


def test_the_same_command_gives_the_same_bytes_and_a_window_is_less(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    one = ["--source", "fast piano", "--target", "slow organ", "--sites", "resid_post,mlp_out"]
    for out in ("a.json", "b.json"):
        assert musicsteer("patch", "--model", bundle, *one, "--out", out, *SHORT).code == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    window = ["--window", "0-0.02"]
    assert musicsteer("patch", "--model", bundle, *one, *window, "--out", "w.json", *SHORT).code == 0
    whole, part = (results(tmp_path / name, "recovered") for name in ("a.json", "w.json"))
    assert abs(whole["resid_post", 2] - 1) < 1e-5
    assert abs(part["resid_post", 2] - 1) > 1e-3
    content = json.loads((tmp_path / "w.json").read_text())
    assert content["window"] == "0-0.02" and content["results"][0]["recovered"]["low"] is None


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_ablation(musicsteer: Runner, bundle: Path, tmp_path: Path, kind: str) -> None:
    arguments = ["--ablate", kind, "--prompt", "fast piano", "--prompt", "slow organ", "--out", "c.json"]
    done = musicsteer("patch", "--model", bundle, *arguments, *SHORT)
    assert (done.code, done.errors) == (0, []), done.err
    cost = results(tmp_path / "c.json", "cost_nats")
    assert cost["resid_post", 2] > 0.1
    assert len(json.loads((tmp_path / "c.json").read_text())["clips"]) == 2


def test_bad_arguments(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    base = ["patch", "--model", bundle, "--out", "p.json", *SHORT]
    (tmp_path / "unpaired.json").write_text(
        '{"concept": "x", "positive": {"label": "a", "prompts": ["a"]},'
        ' "negative": {"label": "b", "prompts": ["b"]}}'
    )
    both = ["--source", "a", "--target", "b"]
    for arguments, code, words in [
        ([], 2, "--prompts"),
        (["--source", "a"], 2, "needs a --target"),
        (["--source", "a", "--target", "a"], 2, "same prompt"),
        ([*both, *PAIRS], 2, "not both"),
        ([*both, "--prompt", "x"], 2, "--ablate"),
        (["--ablate", "zero"], 2, "--prompt"),
        (["--ablate", "half", "--prompt", "x"], 2, "half"),
        (["--ablate", "zero", *both], 2, "not pairs"),
        ([*both, "--sites", "resid_past"], 2, "resid_post"),
        ([*both, "--layers", "9"], 2, "9"),
        ([*both, "--window", "2-1"], 2, "window"),
        (["--prompts", "unpaired.json"], 1, "pairing"),
        (["--prompts", "missing.json"], 1, "missing.json"),
        ([*both, "--csv", "unpaired.json"], 1, "--force"),
        ([*both, "--svg", "p.svg"], 2, "--svg"),
    ]:
        done = musicsteer(*base, *arguments)
        assert done.code == code, (arguments, done.err)
        assert len(done.err.splitlines()) == 1 and words in done.err and done.out == "", done.err
        assert not (tmp_path / "p.json").exists()


def test_score_grows_with_alpha_and_changes_no_clip(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    steered = ["generate", "--model", bundle, "--prompt", "piano", "--steer", vectors, *SHORT]
    scores = {}
    for alpha in ("0", "0.1", "1"):
        done = musicsteer(*steered, "--alpha", alpha, "--out", f"{alpha}.wav", "--score")
        assert (done.code, done.errors) == (0, []), done.err
        scores[alpha] = json.loads((tmp_path / f"{alpha}.json").read_text())
    assert scores["0"]["kl_nats"] == 0.0 < scores["0.1"]["kl_nats"] < scores["1"]["kl_nats"]
    assert all(score["unsteered_nll_nats"] > 0 for score in scores.values())
    assert musicsteer(*steered, "--alpha", "1", "--out", "plain.wav").code == 0
    assert (tmp_path / "plain.wav").read_bytes() == (tmp_path / "1.wav").read_bytes()
    plain = json.loads((tmp_path / "plain.json").read_text())
    assert not {"kl_nats", "unsteered_nll_nats"} & plain.keys()
