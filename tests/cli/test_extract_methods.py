"""`extract --method` on saved activations: directions and statistics against scikit-learn and xRFM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pooled_activations import POINT, Activations, Array, correlated, save
from program import Runner
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import silhouette_score

# More prompts than numbers, and fewer, as with a real model.
SHAPES = {"narrow": (40, 24), "wide": (30, 150)}
CLOSE = 0.999  # cosine


@pytest.fixture(params=SHAPES)
def made(request: pytest.FixtureRequest) -> Activations:
    return correlated(*SHAPES[request.param], seed=5)


def unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def scaled(rows: Array) -> Array:
    """By one number, as docs/directions.md says: directions stay what they are."""
    return rows / np.sqrt(np.mean(np.sum((rows - rows.mean(0)) ** 2, axis=1)))


def pca(made: Activations) -> Array:
    differences = made.positive - made.negative
    component = PCA(n_components=1).fit(differences).components_[0]
    return component * np.sign(component @ differences.mean(0))


def pca_center(made: Activations) -> Array:
    halves = (made.positive - made.negative) / 2
    component = PCA(n_components=1).fit(np.concatenate([halves, -halves])).components_[0]
    return component * np.sign(component @ halves.mean(0))


def logistic(made: Activations, regularization: float = 0.01) -> Array:
    probe = LogisticRegression(C=1 / regularization, tol=1e-8, max_iter=10_000)
    return unit(probe.fit(scaled(made.rows), made.labels).coef_[0])


def ridge(made: Activations, regularization: float = 0.5) -> Array:
    return unit(Ridge(alpha=regularization).fit(scaled(made.rows), made.values).coef_)


def mean_diff(made: Activations) -> Array:
    return unit(made.positive.mean(0) - made.negative.mean(0))


REFERENCES: dict[str, Callable[..., Array]] = {
    "mean-diff": mean_diff,
    "pca": pca,
    "pca-center": pca_center,
    "logistic": logistic,
    "ridge": ridge,
}


def extract(
    musicsteer: Runner, folder: Path, made: Activations, *flags: str, **kind: bool
) -> tuple[Array, dict[str, float], dict[str, object]]:
    """The vector, its statistics, and all that `inspect --json` says of the file."""
    save(folder / "a.safetensors", made, **kind)
    done = musicsteer(
        "extract", "--from-activations", "a.safetensors", "--out", "v.safetensors", "--force", *flags
    )
    assert done.code == 0, done.err
    shown = musicsteer("inspect", "v.safetensors", "--json")
    assert shown.code == 0, shown.err
    facts = json.loads(shown.out)
    vector = load_file(folder / "v.safetensors")[POINT]
    assert vector.dtype == np.float32
    return vector.astype(np.float64), facts["layers"][POINT], facts


@pytest.mark.parametrize("method", REFERENCES)
def test_directions_equal_scikit_learn(
    musicsteer: Runner, tmp_path: Path, made: Activations, method: str
) -> None:
    vector, stats, facts = extract(musicsteer, tmp_path, made, "--method", method)
    assert facts["method"] == method
    assert unit(vector) @ REFERENCES[method](made) >= CLOSE
    difference = made.positive.mean(0) - made.negative.mean(0)
    np.testing.assert_allclose(np.linalg.norm(vector), np.linalg.norm(difference), rtol=1e-5)
    np.testing.assert_allclose(stats["cosine_to_mean_diff"], unit(vector) @ unit(difference), atol=1e-5)


@pytest.mark.parametrize("strength", [0.0005, 10.0])
@pytest.mark.parametrize("method", ["logistic", "ridge"])
def test_regularization_is_scikit_learns(
    musicsteer: Runner, tmp_path: Path, made: Activations, method: str, strength: float
) -> None:
    flags = ["--method", method, "--regularization", str(strength)]
    vector, _, facts = extract(musicsteer, tmp_path, made, *flags)
    assert facts["method_settings"] == {"regularization": strength}
    assert unit(vector) @ REFERENCES[method](made, strength) >= CLOSE
    other = REFERENCES[method](made)
    assert unit(vector) @ other < CLOSE, "the strength should matter here"


@pytest.mark.parametrize("method", REFERENCES)
def test_statistics_leave_one_prompt_out(
    musicsteer: Runner, tmp_path: Path, made: Activations, method: str
) -> None:
    _, stats, _ = extract(musicsteer, tmp_path, made, "--method", method)
    count = len(made.positive)
    scores = np.zeros((2, count))
    for i in range(count):
        rest = made.without(i)
        direction = REFERENCES[method](rest)
        middle = (rest.positive.mean(0) + rest.negative.mean(0)) / 2
        scores[:, i] = (np.stack([made.positive[i], made.negative[i]]) - middle) @ direction
    high, low = scores
    d = (high.mean() - low.mean()) / np.sqrt((high.var(ddof=1) + low.var(ddof=1)) / 2)
    np.testing.assert_allclose(stats["cohens_d"], d, rtol=1e-3, atol=1e-3)
    assert stats["accuracy"] == pytest.approx((np.mean(high > 0) + np.mean(low < 0)) / 2)
    flat = scores.ravel()
    np.testing.assert_allclose(
        stats["silhouette"], silhouette_score(flat[:, None], made.labels), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(stats["r"], np.corrcoef(flat, made.values)[0, 1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("settings", [(5, 1.0, 1e-3), (2, 3.0, 0.1)])
def test_rfm_equals_xrfm(
    musicsteer: Runner,
    tmp_path: Path,
    made: Activations,
    settings: tuple[int, float, float],
    numbered: bool,
) -> None:
    """xRFM's Laplace kernel for high dimensions, whose gradients are those of the kernel itself."""
    rfm = pytest.importorskip("xrfm.rfm_src", reason="xrfm needs Python 3.11")
    torch = pytest.importorskip("torch")
    iterations, bandwidth, regularization = settings
    vector, _, facts = extract(
        musicsteer, tmp_path, made, "--method", "rfm", "--rfm-iterations", str(iterations),
        "--rfm-bandwidth", str(bandwidth), "--regularization", str(regularization), numbered=numbered,
    )  # fmt: skip
    assert facts["method_settings"] == {
        "iterations": iterations, "bandwidth": bandwidth, "regularization": regularization,
    }  # fmt: skip
    targets = made.values if numbered else made.labels
    targets = targets - targets.mean()
    data = torch.from_numpy(scaled(made.rows)), torch.from_numpy(targets)[:, None]
    model = rfm.RFM(
        "l2_high_dim",
        iters=iterations,
        bandwidth=bandwidth,
        bandwidth_mode="adaptive",
        verbose=False,
        device="cpu",
    )
    model.fit(data, data, reg=regularization, return_best_params=False, early_stop_rfm=False, verbose=False)
    top = np.linalg.eigh(model.M.numpy())[1][:, -1]
    assert abs(unit(vector) @ top) >= CLOSE
    assert (made.rows @ vector) @ targets > 0


def test_random_directions_are_seeded_controls(musicsteer: Runner, tmp_path: Path, made: Activations) -> None:
    first, stats, facts = extract(musicsteer, tmp_path, made, "--method", "random")
    again, _, _ = extract(musicsteer, tmp_path, made, "--method", "random", "--random-seed", "0")
    other, _, _ = extract(musicsteer, tmp_path, made, "--method", "random", "--random-seed", "1")
    np.testing.assert_array_equal(first, again)
    assert abs(unit(first) @ unit(other)) < 0.6
    difference = made.positive.mean(0) - made.negative.mean(0)
    np.testing.assert_allclose(np.linalg.norm(first), np.linalg.norm(difference), rtol=1e-5)
    assert facts["method"] == "random" and facts["method_settings"] == {"seed": 0}
    assert abs(stats["cosine_to_mean_diff"]) < 0.7
    high, low = made.positive @ unit(first), made.negative @ unit(first)
    d = (high.mean() - low.mean()) / np.sqrt((high.var(ddof=1) + low.var(ddof=1)) / 2)
    np.testing.assert_allclose(stats["effect_size"], d, rtol=1e-3, atol=1e-3)


def test_pure_noise_is_not_told_apart(musicsteer: Runner, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)  # a median one: Cohen's d of noise scatters by 0.26 here
    rows = rng.normal(size=(2, 60, 400)).astype(np.float32).astype(np.float64)
    values = rng.uniform(60, 180, size=(2, 60))
    noise = Activations(rows[0], rows[1], values[0], values[1])
    for method in ("mean-diff", "logistic", "ridge"):
        _, stats, _ = extract(musicsteer, tmp_path, noise, "--method", method)
        assert method == "ridge" or stats["effect_size"] > 3.0, method
        assert abs(stats["cohens_d"]) < 0.6 and abs(stats["accuracy"] - 0.5) < 0.13, (method, stats)
        assert abs(stats["r"]) < 0.4, (method, stats)  # in sample it is above 0.9 for ridge


def test_inspect_shows_the_statistics_as_a_table(musicsteer: Runner, tmp_path: Path) -> None:
    made = correlated(12, 24, seed=1)
    _, stats, _ = extract(musicsteer, tmp_path, made, "--method", "ridge")
    out = musicsteer("inspect", "v.safetensors").out
    heading, row = out.splitlines()[-2:]
    for word in ("norm", "effect size", "held-out d", "silhouette", "accuracy", " r ", "cos mean-diff"):
        assert word in heading
    assert row.split()[0] == POINT
    assert row.split()[-1] == f"{stats['cosine_to_mean_diff']:.3f}"
    assert row.split()[4] == f"{stats['cohens_d']:.2f}"
    assert "ridge, regularization 0.5" in out and "numbers" in out
    _, stats, facts = extract(musicsteer, tmp_path, made, "--method", "logistic", numbered=False)
    assert "r" not in stats and "value" not in facts
    assert musicsteer("inspect", "v.safetensors").out.splitlines()[-1].split()[-2] == "-"


def fails(musicsteer: Runner, code: int, word: str, *flags: str) -> None:
    done = musicsteer("extract", "--from-activations", "a.safetensors", "--out", "v.safetensors", *flags)
    assert done.code == code, (done.out, done.err)
    assert len(done.errors) == 1 and len(done.err.splitlines()) == 1 and word in done.err, done.err


def test_methods_refuse_what_they_cannot_use(musicsteer: Runner, tmp_path: Path) -> None:
    made = correlated(6, 8, seed=1)
    save(tmp_path / "a.safetensors", made, paired=False, numbered=False)
    fails(musicsteer, 2, "paired", "--method", "pca")
    fails(musicsteer, 2, "paired", "--method", "pca-center")
    fails(musicsteer, 2, "number", "--method", "ridge")
    fails(musicsteer, 2, "did you mean", "--method", "logistics")
    fails(musicsteer, 2, "--regularization", "--method", "pca", "--regularization", "1")
    fails(musicsteer, 2, "above 0", "--method", "ridge", "--regularization", "0")
    fails(musicsteer, 2, "--rfm-iterations", "--rfm-iterations", "3")
    fails(musicsteer, 2, "iterations", "--method", "rfm", "--rfm-iterations", "0")
    fails(musicsteer, 2, "--random-seed", "--random-seed", "3")
    same = Activations(made.positive, made.negative, np.ones(6), np.ones(6))
    save(tmp_path / "a.safetensors", same)
    fails(musicsteer, 2, "all the same", "--method", "ridge")
    equal = Activations(made.positive, made.positive, made.positive_values, made.negative_values)
    save(tmp_path / "a.safetensors", equal)
    fails(musicsteer, 1, "do not differ", "--method", "pca-center")
    assert not (tmp_path / "v.safetensors").exists()


def test_damaged_activation_files_are_refused(musicsteer: Runner, tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "a.safetensors"
    save(path, correlated(6, 8, seed=1))
    tensors = load_file(path)
    with safe_open(path, "np") as opened:
        metadata = opened.metadata()
    damages = (
        ("values", '{"positive": [1, 2], "negative": [1, 2]}'),
        ("values", '{"positive": [1, 2, 3, 4, 5, "x"], "negative": [1, 2, 3, 4, 5, 6]}'),
        ("values", '{"positive": [1, 2, 3, 4, 5, 6]}'),
        ("paired", '"yes"'),
    )
    for key, text in damages:
        save_file(tensors, path, metadata | {key: text})
        fails(musicsteer, 1, f"metadata.{key}", "--method", "ridge")
    save_file(tensors, path, metadata | {"unfinished": "{}"})
    fails(musicsteer, 1, "a stopped extraction", "--method", "ridge")
    name = f"positive.{POINT}"
    extra = {
        f"{side}.decoder.0.mlp_out{end}": tensors[f"{side}.{POINT}{end}"]
        for side in ("positive", "negative")
        for end in ("", ".mean_norms")
    }
    extra["positive.decoder.0.mlp_out"] = tensors[name][:3]
    extra["positive.decoder.0.mlp_out.mean_norms"] = tensors[f"{name}.mean_norms"][:3]
    save_file(tensors | extra, path, metadata)
    fails(musicsteer, 1, "expected 3 prompts")
