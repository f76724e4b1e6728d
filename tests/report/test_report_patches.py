"""Results of `musicsteer patch` on the page: what is read, refused and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from example_sweeps import WEIGHTS, grid, write_audio, write_sweep
from test_report_browser import chromium, open_page  # noqa: F401
from test_report_command import data_of, report

from musicsteer.report.errors import ReportError
from musicsteer.report.loading import Sweep, check_one_model
from musicsteer.report.patches import patch_data, read_patches

SITES = ("resid_pre", "cross_attn_out")


def patch(path: Path, pairs: int = 8, quantity: str = "recovered", **changes: Any) -> Path:
    """A file as the program writes it: layer l of site s has 0.25 l + 0.5 s, and layers at once 0.75."""
    variants = [(s, layer) for s in range(len(SITES)) for layer in range(3)] + [(0, None), (1, None)]
    prompts = [{"source": f"fast {i}", "target": f"slow {i}", "seed": i} for i in range(pairs)]
    results = []
    for site, layer in variants:
        value = 0.75 if layer is None else 0.25 * layer + 0.5 * site
        estimate = {"value": value, "low": value - 0.125, "high": value + 0.125}
        layers = [0, 1, 2] if layer is None else [layer]
        results.append(
            {"site": SITES[site], "layer": layer, "layers": layers, quantity: estimate, "log_p": []}
        )
    content = {
        "format": "musicsteer-patch", "format_version": 1, "oldest_reader": 1, "method": "replace",
        "model": {"name": "toy", "weights_sha256": WEIGHTS}, "window": None, "duration_s": 8.0,
        "pairs": prompts, "results": results,
    } | changes  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_results_are_laid_out_by_site_and_layer(tmp_path: Path) -> None:
    (read,) = read_patches([patch(tmp_path / "tempo.json"), tmp_path / "." / "tempo.json"])
    data = patch_data(read)
    assert data["layers"] == ["0", "1", "2", "all"] and data["sites"] == list(SITES)
    assert data["value"] == [[0.0, 0.25, 0.5, 0.75], [0.5, 0.75, 1.0, 0.75]]
    assert data["low"][1] == [0.375, 0.625, 0.875, 0.625] and data["high"][0][1] == 0.375
    assert data["fullScale"] == 1.0 and data["counted"] == "8 pairs"
    assert data["title"] == "tempo: share of the difference between the prompts that is recovered"
    assert "“fast 0” in place of “slow 0”" in data["detail"] and "in all frames" in data["detail"]
    assert list(read.remarks()) == []


def test_costs_are_read_against_the_largest_of_one_layer(tmp_path: Path) -> None:
    path = patch(tmp_path / "cost.json", quantity="cost_nats", method="ablate-mean")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["results"][-1]["cost_nats"]["value"] = 9.0
    path.write_text(json.dumps(content | {"clips": [{"prompt": "a", "seed": 0}], "pairs": None}))
    (read,) = read_patches([path])
    assert read.full_scale() == 1.0 and read.counted == "1 clip"
    assert patch_data(read)["label"] == "Cost, nats a code"


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    path = patch(tmp_path / "a.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    for result in content["results"]:
        result["recovered"] |= {"low": None, "high": None}
    path.write_text(json.dumps(content), encoding="utf-8")
    (read,) = read_patches([path])
    assert "no intervals" in next(read.remarks()) and read.low == [[None] * 4] * 2
    few = read_patches([patch(tmp_path / "few.json", pairs=3)])[0]
    assert "rests on 3 pairs" in next(few.remarks())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "has format None"),
        ('{"format": "musicsteer-sweep"}', "expected 'musicsteer-patch'"),
        ('{"format": "musicsteer-patch", "oldest_reader": 9}', "needs a reader of version 9"),
        ('{"format": "musicsteer-patch", "oldest_reader": 1, "results": []}', "not a result of"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    with pytest.raises(ReportError, match=words):
        read_patches([tmp_path / "x.json"])
    done = report(tmp_path / "x.json", "--out", tmp_path / "report")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and words in done.stderr


def test_other_weights_are_refused(tmp_path: Path) -> None:
    other = patch(tmp_path / "b.json", model={"name": "other", "weights_sha256": "b2" * 32})
    with pytest.raises(ReportError, match=r"different models \(toy in .*a.json; other in .*b.json\)"):
        check_one_model(Sweep(), read_patches([patch(tmp_path / "a.json"), other]))


def test_patches_alone_and_beside_a_sweep(tmp_path: Path) -> None:
    results = [patch(tmp_path / "tempo.json"), patch(tmp_path / "other.json")]
    done = report(*results, "--out", tmp_path / "alone")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "2 results of patching; page" in done.stdout
    assert sorted(path.name for path in (tmp_path / "alone").iterdir()) == ["index.html", "plotly.min.js"]
    page = (tmp_path / "alone" / "index.html").read_text(encoding="utf-8")
    assert "<h1>Activation patching</h1>" in page and "no KL" not in page
    records = grid(seeds=range(2))
    write_audio(write_sweep(tmp_path / "sweep", records), records)
    done = report(tmp_path / "sweep", results[0], "--single-file", "--out", tmp_path / "both.html")
    assert done.returncode == 0, done.stderr
    data = data_of(tmp_path / "both.html")
    assert [one["name"] for one in data["patches"]] == ["tempo"] and len(data["clips"]) == len(records)


def test_the_heatmap_tells_value_and_interval(chromium: Any, tmp_path: Path) -> None:  # noqa: F811
    path = patch(tmp_path / "tempo.json")
    assert report(path, "--out", tmp_path / "report").returncode == 0
    page = open_page(chromium, (tmp_path / "report" / "index.html").as_uri())
    figure = "document.querySelector('#patch-list figure')"
    shown = page.execute_script(
        f"const [d] = {figure}.data; return [d.x, d.y, d.z, d.customdata[1][2], d.text[1]]"
    )
    assert shown[:3] == [["0", "1", "2", "all"], list(SITES), [[0, 0.25, 0.5, 0.75], [0.5, 0.75, 1, 0.75]]]
    hover = "<b>layer 2, cross_attn_out</b><br>recovered 1.000<br>[0.875, 1.125]<br>8 pairs"
    assert shown[3] == hover and shown[4] == ["0.50", "0.75", "1.00", "0.75"]
    cells = page.execute_script(
        "return [...document.querySelectorAll('#patches tbody td')].map((e) => e.innerText)"
    )
    assert len(cells) == 3 * 8 and cells[:3] == ["0", "resid_pre", "0.000\n[−0.125, 0.125]"]
    hidden = page.execute_script(
        "return ['listen', 'curves', 'conditions', 'runs'].map((id) => document.getElementById(id).hidden)"
    )
    assert hidden == [True] * 4
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    csv = page.execute_async_script(
        """const done = arguments[0], create = URL.createObjectURL;
        URL.createObjectURL = (blob) => (blob.text().then(done), create.call(URL, blob));
        [...document.querySelectorAll('#patches .table-bar button')].at(-1).click();"""
    )
    assert csv.splitlines()[:3] == [
        "layer,site,recovered,low,high",
        "0,resid_pre,0,-0.125,0.125",
        "1,resid_pre,0.25,0.125,0.375",
    ]
