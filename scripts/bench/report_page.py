"""Measures the listening report in Chromium: what it weighs, when it sounds, and whether it stays fluid.

usage: .venv/bin/python scripts/bench/report_page.py [--clips 72 500] [--runs 5] [--out out/bench/report-page]

Makes sweeps of synthetic clips of 8 s at 16 kHz, a report of each, and opens it from the disk as often as
--runs says, each time in a fresh browser. Prints a table of medians, and writes it as OUT.md and OUT.json.
Needs Debian's chromium and chromium-driver. Means nothing while the machine does anything else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "report"))

from example_sweeps import grid, plan_of, write_audio, write_sweep  # noqa: E402

PROMPTS = ("piano music", "a synth lead with drums", "organ music", "a marimba groove", "soft strings")
# Clips of a pair of prompt and seed, and the pairs, for the two sizes that are offered.
SHAPES = {72: (2, PROMPTS[:4], 2), 500: (6, PROMPTS, 4)}  # conditions, prompts, seeds
BROWSER_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1400,1000",
)

# Runs before the page's own scripts: long tasks, and the time of the first sample that is not silent.
WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((e) => [e.startTime, e.duration])))
  .observe({ type: "longtask", buffered: true });
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, ...rest) {
  window.firstSound ??= performance.now() + 1000 * Math.max(0, when - this.context.currentTime);
  return start.call(this, when, ...rest);
};
window.addEventListener("DOMContentLoaded", () => {
  const player = new Function("return Player")();
  const timer = setInterval(() => player.state.buffer && (clearInterval(timer), player.play()), 5);
});
"""

# Slides alpha over its range, or chooses every prompt, while the clip plays: times between frames, in ms.
ACTIONS = {
    "slide": """
      const range = document.getElementById("alpha");
      const most = Number(range.max);
      const there = [...Array(most + 1).keys()];
      await each([...Array(6)].flatMap(() => [...there, ...there.toReversed()]), (place) => {
        range.value = place;
        range.dispatchEvent(new Event("input", { bubbles: true }));
      }, 60);
    """,
    "choose": """
      const select = document.getElementById("prompt");
      const places = [...Array(4)].flatMap(() => [...select.options].map((option) => option.value));
      await each(places, (value) => {
        select.value = value;
        select.dispatchEvent(new Event("change"));
      }, 150);
    """,
    "sort": """
      const buttons = [...document.querySelectorAll("#runs-table th button")];
      await each([...buttons, ...buttons], (button) => button.click(), 120);
    """,
}
ACT = """
const [code, done] = [arguments[0], arguments[1]];
const each = async (items, act, pause) => {
  for (const item of items) {
    act(item);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
};
const frames = [];
let last = performance.now();
let going = true;
const begin = last;
requestAnimationFrame(function frame(now) {
  frames.push(now - last);
  last = now;
  if (going) requestAnimationFrame(frame);
});
(async () => {
  await new (Object.getPrototypeOf(async () => {}).constructor)("each", code)(each);
  going = false;
  await new Promise((resolve) => setTimeout(resolve, 200));
  const long = longTasks.filter(([when]) => when >= begin).map(([, duration]) => duration);
  done({ frames: frames.slice(1), long });
})();
"""


def processor() -> str:
    """Its name, as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def make_sweep(folder: Path, clips: int) -> Path:
    """A sweep of that many synthetic clips of 8 s."""
    conditions, prompts, seeds = SHAPES[clips]
    variants = [{}, *({"strategy": "single", "layers": [layer]} for layer in range(conditions - 1))]
    records = grid(prompts=prompts, seeds=range(seeds), variants=variants, kl=True)
    assert len(records) == clips
    records = [record | {"duration_s": 8.0} for record in records]
    write_audio(write_sweep(folder, records, plan_of(records)), records)
    return folder


def make_reports(sweep: Path, folder: Path) -> dict[str, int]:
    """The report as a folder and as a single file; what each part weighs, in bytes."""
    program = ROOT / "build" / "musicsteer"
    for arguments in (["--out", folder / "report"], ["--single-file", "--out", folder / "single.html"]):
        subprocess.run([program, "report", sweep, *arguments], check=True, capture_output=True)
    report = folder / "report"
    return {
        "html_bytes": (report / "index.html").stat().st_size,
        "plots_bytes": (report / "plotly.min.js").stat().st_size,
        "clips_bytes": sum(file.stat().st_size for file in (report / "audio").iterdir()),
        "single_file_bytes": (folder / "single.html").stat().st_size,
    }


@contextmanager
def browser() -> Iterator[Any]:
    """A fresh Chromium that watches every page."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    for flag in BROWSER_FLAGS:
        options.add_argument(flag)
    running = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver") or "chromedriver")
    )
    running.set_script_timeout(120)
    running.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    try:
        yield running
    finally:
        running.quit()


def visit(page: Path) -> dict[str, Any]:
    """Open the page, let it play as soon as it can, then slide, choose and sort."""
    with browser() as running:
        running.get(page.as_uri())
        end = time.monotonic() + 120
        done = "return document.documentElement.dataset.ready === 'true' && window.firstSound !== undefined"
        while not running.execute_script(done):
            if time.monotonic() > end:
                raise SystemExit(f"error: {page} did not play within two minutes")
            time.sleep(0.1)
        opened = running.execute_script(
            "return { first_sound_ms: firstSound,"
            " interactive_ms: performance.getEntriesByName('musicsteer-ready')[0].startTime,"
            " plots_ms: performance.getEntriesByName('musicsteer-plots')[0].startTime,"
            " opening: longTasks.map(([, duration]) => duration) }"
        )
        acted = {name: running.execute_async_script(ACT, code) for name, code in ACTIONS.items()}
    return opened | acted


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))]


def summary(visits: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over visits; of frames, the median of each visit's 95th percentile, and the longest of all."""

    def median(values: list[float]) -> float:
        return round(statistics.median(values), 1)

    result = {
        key: median([one[key] for one in visits]) for key in ("first_sound_ms", "interactive_ms", "plots_ms")
    }
    result["opening_long_tasks"] = median([len(one["opening"]) for one in visits])
    result["opening_longest_ms"] = max(max(one["opening"], default=0.0) for one in visits)
    for name in ACTIONS:
        runs = [one[name] for one in visits]
        result[f"{name}_frame_p50_ms"] = median([percentile(run["frames"], 0.5) for run in runs])
        result[f"{name}_frame_p95_ms"] = median([percentile(run["frames"], 0.95) for run in runs])
        result[f"{name}_frame_longest_ms"] = round(max(max(run["frames"]) for run in runs), 1)
        result[f"{name}_long_tasks"] = median([len(run["long"]) for run in runs])
        result[f"{name}_longest_task_ms"] = round(max(max(run["long"], default=0.0) for run in runs), 1)
    return result


ROWS = {
    "html_bytes": ("page: HTML, style, scripts, numbers", "kB", 1e-3),
    "plots_bytes": ("script of the plots", "kB", 1e-3),
    "clips_bytes": ("clips, FLAC, loaded when played", "MB", 1e-6),
    "single_file_bytes": ("single file, Vorbis", "MB", 1e-6),
    "interactive_ms": ("from navigation to a player that reacts", "ms", 1),
    "first_sound_ms": ("from navigation to the first sound, played at once", "ms", 1),
    "plots_ms": ("from navigation to drawn plots", "ms", 1),
    "opening_long_tasks": ("tasks over 50 ms while opening", "", 1),
    "opening_longest_ms": ("the longest of them", "ms", 1),
}
ACTION_NAMES = {
    "slide": "sliding alpha while it plays",
    "choose": "choosing prompts while it plays",
    "sort": "sorting the table of clips while it plays",
}


def table(results: dict[int, dict[str, float]]) -> str:
    """Markdown: a row a figure, a column a size."""
    rows = dict(ROWS)
    for name, title in ACTION_NAMES.items():
        rows[f"{name}_frame_p50_ms"] = (f"{title}: median frame", "ms", 1)
        rows[f"{name}_frame_p95_ms"] = (f"{title}: 95 % of frames within", "ms", 1)
        rows[f"{name}_frame_longest_ms"] = (f"{title}: longest frame", "ms", 1)
        rows[f"{name}_long_tasks"] = (f"{title}: tasks over 50 ms", "", 1)
        rows[f"{name}_longest_task_ms"] = (f"{title}: longest task over 50 ms", "ms", 1)
    lines = [
        "| | " + " | ".join(f"{clips} clips" for clips in results) + " |",
        "|---|" + "---:|" * len(results),
    ]
    for key, (title, unit, scale) in rows.items():
        cells = " | ".join(f"{result[key] * scale:.4g} {unit}".strip() for result in results.values())
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure each size, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, nargs="+", choices=sorted(SHAPES), default=sorted(SHAPES))
    parser.add_argument("--runs", type=int, default=5, help="visits of each page, in a fresh browser each")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench" / "report-page")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    results: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as work:
        for clips in options.clips:
            folder = Path(work) / str(clips)
            weights = make_reports(make_sweep(folder / "sweep", clips), folder)
            visits = [visit(folder / "report" / "index.html") for _ in range(options.runs)]
            results[clips] = weights | summary(visits)
    machine = f"{processor()}, {os.cpu_count()} processors, load {load:.1f} at the start"
    text = (
        f"Chromium, headless, without GPU, from the disk; {machine}; {options.runs} runs.\n\n{table(results)}"
    )
    print(text, end="")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    options.out.with_suffix(".json").write_text(
        json.dumps({"machine": machine, "runs": options.runs, "results": results}, indent=2) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
