"""The page in a real browser, from a disk and over http: what is heard, drawn, sorted and requested."""

from __future__ import annotations

import csv
import functools
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from example_sweeps import grid, write_audio, write_sweep

from musicsteer.report.curves import curves_of
from musicsteer.report.loading import read_sweeps

webdriver = pytest.importorskip("selenium.webdriver")

ROOT = Path(__file__).resolve().parents[2]
# Records what the page sends to the loudspeakers, as blocks of samples.
RECORDER = """
const connect = AudioNode.prototype.connect;
window.heard = [];
AudioNode.prototype.connect = function (target, ...rest) {
  if (target === this.context.destination && this instanceof GainNode) {
    if (!window.recorder) {
      window.recorder = this.context.createScriptProcessor(16384, 1, 1);
      recorder.onaudioprocess = (event) => heard.push(Array.from(event.inputBuffer.getChannelData(0)));
      connect.call(recorder, this.context.destination);
    }
    connect.call(this, recorder);
  }
  return connect.call(this, target, ...rest);
};
"""

# Where the light theme's spectrogram is darkest in the middle of the clip, as a frequency.
LOUDEST_HZ = """(() => {
  const canvas = document.getElementById('spectrogram');
  const { data } = canvas.getContext('2d').getImageData(canvas.width >> 1, 0, 1, canvas.height);
  const sum = (_, y) => data[4 * y] + data[4 * y + 1] + data[4 * y + 2];
  const bright = Array.from({ length: canvas.height }, sum);
  return 50 * (8000 / 50) ** (1 - (bright.indexOf(Math.min(...bright)) + 0.5) / canvas.height);
})()"""


def find_browser() -> tuple[str, str]:
    """Chromium and its driver; skips the test without them, unless all tests are asked for."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    reason = "no Chromium with chromedriver here: apt-get install chromium chromium-driver"
    if os.environ.get("MUSICSTEER_TEST_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    variants = [{}, *({"strategy": "single", "layers": [layer]} for layer in (1, 2))]
    records = grid(seeds=range(8), variants=variants, kl=True)
    folder = tmp_path_factory.mktemp("browser") / "sweep"
    write_audio(write_sweep(folder, records), records)
    return folder


@pytest.fixture(scope="session")
def pages(sweep: Path) -> dict[str, Path]:
    """The report as folder and as single file, the latter lossless too."""
    made = {"folder": sweep.parent / "report", "single": sweep.parent / "single.html"}
    for kind, out in made.items():
        extra = ["--single-file", "--audio", "flac"] if kind == "single" else []
        command = [sys.executable, "-m", "musicsteer.report", sweep, "--out", out, *extra]
        subprocess.run(command, check=True, capture_output=True)
    return {"folder": made["folder"] / "index.html", "single": made["single"]}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def server(pages: dict[str, Path]) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(pages["folder"].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/index.html"
        running.shutdown()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--autoplay-policy=no-user-gesture-required",
        "--window-size=1200,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    running.set_script_timeout(120)  # a busy machine takes long to compile the plots of a single file
    yield running
    running.quit()


def wait(browser: Any, condition: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not browser.execute_script(f"return Boolean({condition})"):
        assert time.monotonic() < end, f"never came true: {condition}"
        time.sleep(0.05)


def open_page(browser: Any, address: str) -> Any:
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(address)
    wait(browser, "document.documentElement.dataset.ready === 'true'")
    return browser


@pytest.fixture(params=["file", "http", "single"])
def page(request: pytest.FixtureRequest, chromium: Any, pages: dict[str, Path], server: str) -> Any:
    address = {"file": pages["folder"].as_uri(), "http": server, "single": pages["single"].as_uri()}
    yield open_page(chromium, address[request.param])
    entries = [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"]
    # The test's own recorder is what the browser calls deprecated.
    assert [entry for entry in entries if "ScriptProcessorNode" not in entry["message"]] == []


@pytest.fixture
def opened(chromium: Any, pages: dict[str, Path]) -> Any:
    """The page from a disk, where one way of opening it will do."""
    return open_page(chromium, pages["folder"].as_uri())


def press(browser: Any, key: str) -> None:
    webdriver.ActionChains(browser).send_keys(key).perform()


def test_a_switch_of_strength_keeps_the_position_to_the_sample(page, sweep):
    page.execute_script(RECORDER)
    wait(page, "Player.state.buffer")
    ids = page.execute_script("return Listen.line.map((clip) => clip.id)")
    before = page.execute_script("return Listen.line.indexOf(Listen.present)")
    page.execute_script("Player.set('matched', false); Player.seek(0.2); Player.play()")
    wait(page, "Player.state.playing && heard.length > 0")
    page.execute_script(
        "const r = document.getElementById('alpha'); r.value = Number(r.value) + 1;"
        "r.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    wait(page, f"Player.state.clip.id === '{ids[before + 1]}'")
    blocks = page.execute_script("return heard.length")
    wait(page, f"heard.length > {blocks + 2}")  # the recorder gives a block a second
    page.execute_script("Player.pause()")
    heard = np.concatenate(page.execute_script("return heard"))
    clips = [soundfile.read(sweep / "clips" / f"{ids[place]}.wav")[0] for place in (before, before + 1)]
    (first, first_range), (second, second_range) = (find_shift(heard, clip) for clip in clips)
    assert first == second, "the position in the music jumped"
    gap = second_range[0] - first_range[1]
    assert 0 <= gap <= 0.03 * 16000, "the crossfade should take 20 ms"
    between = np.abs(heard[first_range[1] : second_range[0]])
    assert between.reshape(-1, 32).max(axis=1).min() > 0.02, "there is a gap between the clips"


def find_shift(heard: np.ndarray, clip: np.ndarray, block: int = 64) -> tuple[int, tuple[int, int]]:
    """heard[i] == clip[i + shift], the clip in a loop, over a range: the shift, and the range [first, last)."""  # noqa: E501
    looped = np.zeros(1 << 19)
    looped[: len(heard)] = heard
    spectrum = np.fft.rfft(looped) * np.conj(np.fft.rfft(clip, len(looped)))
    shift = -int(np.argmax(np.fft.irfft(spectrum))) % len(looped)
    shift = (shift - len(looped)) % len(clip) if shift > len(looped) // 2 else shift % len(clip)
    same = np.abs(heard - clip[(np.arange(len(heard)) + shift) % len(clip)]) < 1e-4
    whole = [start for start in range(0, len(heard) - block, block) if same[start : start + block].all()]
    assert whole, "the clip was not heard sample by sample"
    return shift, (whole[0], whole[-1] + block)


def test_nothing_is_requested_outside_the_page(chromium, pages, server):
    for address in (pages["folder"].as_uri(), server, pages["single"].as_uri()):
        open_page(chromium, address)
        chromium.execute_script("Listen.play(1, '1', 1, 0.2)")
        wait(chromium, "Player.state.playing")
        chromium.execute_script("Player.pause()")
        messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        folder = address.rsplit("/", 1)[0] + "/"
        assert urls and all(url.startswith((folder, "data:", "blob:")) for url in urls), urls
        clips = [url for url in urls if "/audio/" in url]
        assert len(clips) <= 8, "clips should be loaded when they are needed"


def test_plots_are_drawn_in_both_themes(page):
    for selector in ("#curve-plot", "#heatmap-plots .plot", "#cost-plot"):
        assert page.execute_script(
            f"return document.querySelectorAll('{selector} svg .trace, {selector} svg .hm').length"
        )
    assert (
        page.execute_script("return document.querySelectorAll('#curve-plot .scatterlayer .points').length")
        == 6
    )
    style = "return getComputedStyle(document.body).backgroundColor"
    seen = set()
    for theme in ("light", "dark"):
        page.execute_script(f"document.querySelector('[name=theme][value={theme}]').click()")
        seen.add((page.execute_script(style), page.execute_script("return Theme.colour('--ink')")))
    assert len(seen) == 2
    page.execute_script("document.querySelector('[name=theme][value=auto]').click()")


def test_tables_sort_by_number_turn_pages_and_find(opened):
    column = "[...document.querySelectorAll('#runs-table tbody tr')].map((row) => row.cells[5].textContent)"
    header = "document.querySelectorAll('#runs-table th button')[4]"
    for direction in ("ascending", "descending"):
        opened.execute_script(f"{header}.click()")
        assert opened.execute_script(f"return {header}.parentElement.ariaSort") == direction
        values = [float(text.replace("\u2212", "-")) for text in opened.execute_script(f"return {column}")]
        assert len(values) == 25 and values == sorted(values, reverse=direction == "descending")
    opened.execute_script(
        "[...document.querySelectorAll('#runs-table button')].find((b) => b.textContent === 'Next').click()"
    )
    assert "26–50 of" in opened.execute_script(
        "return document.querySelector('#runs-table .count').textContent"
    )
    opened.execute_script(
        "const f = document.querySelector('#runs-table input'); f.value = 'seed 3 unsteered'; f.dispatchEvent(new Event('input'))"  # noqa: E501
    )
    assert opened.execute_script(f"return {column}.length") == 2


def test_space_plays_and_arrows_move_alpha(opened):
    opened.execute_script("document.activeElement.blur()")
    before = opened.execute_script("return Listen.present.alpha")
    press(opened, "\ue014")
    wait(opened, f"Player.state.clip.alpha > {before}")
    press(opened, " ")
    wait(opened, "Player.state.playing")
    press(opened, "\ue012")
    wait(opened, f"Player.state.playing && Player.state.clip.alpha === {before}")
    press(opened, " ")
    wait(opened, "!Player.state.playing")
    assert (
        opened.execute_script("return document.getElementById('alpha').getAttribute('aria-valuetext')")
        == "alpha 0"
    )


def test_every_control_has_a_name_and_shows_focus(opened):
    nameless = opened.execute_script(
        "return [...document.querySelectorAll('button, select, input')].filter((e) => !(e.ariaLabel || e.textContent.trim()"  # noqa: E501
        " || e.labels?.[0]?.textContent.trim())).map((e) => e.outerHTML)"
    )
    assert nameless == []
    for _ in range(6):
        press(opened, "\ue004")
    outline = "const e = document.activeElement; return e.matches(':focus-visible')"
    assert opened.execute_script(outline)


def test_loudness_is_matched_without_passing_full_scale(opened):
    levels = opened.execute_script(
        "return Listen.line.map((clip) => [measureOf(clip, 'loudness_lufs'), measureOf(clip, 'true_peak_dbtp'),"  # noqa: E501
        " matchingGain(clip, Listen.line).decibels])"
    )
    assert len(levels) == 5
    assert {round(loudness + gain, 3) for loudness, _, gain in levels} == {-16.0}
    assert all(peak + gain <= -1 + 1e-9 for _, peak, gain in levels)


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
def test_play_is_above_the_fold(chromium, pages, width, height):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(chromium, pages["folder"].as_uri())
        bottom = "return document.getElementById('play').getBoundingClientRect().bottom"
        assert chromium.execute_script(bottom) < 0.75 * height
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_phones_show_numbers_before_words(chromium, pages):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(chromium, pages["folder"].as_uri())
        for table in ("conditions-table", "runs-table"):
            heads = chromium.execute_script(
                f"return [...document.querySelectorAll('#{table} th')].map((head) => head.className)"
            )
            assert heads.index("numeric") < 2 and heads[-1] == "condition"
            concepts = chromium.execute_script(
                f"return [...document.querySelectorAll('#{table} tbody tr')].map((row) => "
                "[...row.querySelectorAll('small')].map((small) => small.textContent))"
            )
            assert concepts and all({"tempo", "unsteered"} & set(texts) for texts in concepts), concepts
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_b_switches_between_unsteered_and_steered(opened):
    opened.execute_script("document.activeElement.blur(); Listen.move(1)")
    for expected in (0, opened.execute_script("return Listen.line[1].alpha"), 0):
        press(opened, "b")
        wait(opened, f"Player.state.clip.alpha === {expected}")


def test_a_clip_is_saved_as_the_wav_that_it_is(page, sweep):
    clip = page.execute_script("return Listen.present.id")
    saved = page.execute_script(
        "return ClipLoader.load(Listen.present).then((buffer) => Array.from(new Uint8Array(Save.wavBytes(buffer))))"  # noqa: E501
    )
    with (sweep / "clips" / f"{clip}.wav").open("rb") as file:
        expected, rate = soundfile.read(file, dtype="int16")
    found, found_rate = soundfile.read(io.BytesIO(bytes(saved)), dtype="int16")
    assert found_rate == rate and np.array_equal(found, expected)


def test_curves_as_csv_are_those_of_the_statistics(opened, sweep):
    text = opened.execute_script("return Save.csvText(Charts.csvRows())")
    rows = list(csv.DictReader(io.StringIO(text)))
    curves = curves_of(read_sweeps([sweep]), ["tempo_bpm"])
    assert len(rows) == sum(len(c.points) for c in curves) * opened.execute_script(
        "return DATA.measures.length"
    )
    tempo = [row for row in rows if row["measure"] == "tempo"]
    for row, point in zip(tempo, [point for curve in curves for point in curve.points], strict=True):
        assert float(row["strength"]) == point.alpha
        assert float(row["mean"]) == pytest.approx(point.mean.value[0], rel=1e-5)
        assert float(row["change low"]) == pytest.approx(point.change.low[0], rel=1e-5, abs=1e-9)


def test_the_page_says_what_it_opens_on_and_why(opened):
    opens, prompt, seed = opened.execute_script(
        "const { opens, first } = DATA.conditions[0]; return [opens, first.prompt, first.seed]"
    )
    assert opened.execute_script("return View.measure") == opens == "spectral_centroid_hz"
    assert opened.execute_script("return [Listen.chosen.prompt, Listen.chosen.seed]") == [prompt, seed]
    text = "return document.getElementById('{}').textContent"
    assert opened.execute_script(text.format("first")).startswith("Played first: of 16 pairs")
    assert opened.execute_script(text.format("agreement")) == "16 of 16 pairs rise from −0.4 to +0.4."
    other = opened.execute_script("return DATA.clips.find((clip) => clip.seed !== Listen.chosen.seed).seed")
    opened.execute_script(
        f"const s = document.getElementById('seed'); s.value = '{other}';s.dispatchEvent(new Event('change'))"
    )
    wait(opened, "document.getElementById('first').textContent === ''")


def test_small_pages_play_in_a_loop_without_a_gap(chromium, sweep):
    out = sweep.parent / "small.html"
    command = [sys.executable, "-m", "musicsteer.report", sweep, "--small", "--out", out]
    subprocess.run(command, check=True, capture_output=True)
    open_page(chromium, out.as_uri())
    wait(chromium, "Player.state.buffer")
    clip, frames, rate = chromium.execute_script(
        "return [Listen.present.id, Player.state.buffer.length, Player.state.buffer.sampleRate]"
    )
    samples, expected = soundfile.read(sweep / "clips" / f"{clip}.wav")
    assert (frames, rate) == (len(samples), expected)
    heard = np.array(chromium.execute_script("return Array.from(Player.state.buffer.getChannelData(0))"))
    # The tone of the clip is where it was, to the sample.
    assert np.corrcoef(heard, samples)[0, 1] > 0.95
    assert chromium.execute_script("return document.getElementById('curves').hidden")
    assert chromium.execute_script("return document.querySelectorAll('#curve circle').length") == 5
    assert chromium.execute_script("return byId('save-curve').offsetParent !== null")
    picture = ElementTree.fromstring(chromium.execute_script("return Curve.svgText()"))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert "Tempo" in "".join(picture.itertext()) or "centroid" in "".join(picture.itertext()).lower()
    assert len(picture.findall(".//{*}circle")) == 5 and "font-family" in picture.attrib


@pytest.mark.parametrize("width", [390, 820, 1400])
def test_nothing_is_wider_than_the_window(chromium, pages, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(chromium, pages["folder"].as_uri())
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("worker", [True, False])
def test_the_spectrogram_is_that_of_the_clip(chromium, pages, worker):
    script = "" if worker else "window.Worker = function () { throw new Error('none for this page'); };"
    added = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        open_page(chromium, pages["folder"].as_uri())
        chromium.execute_script("document.querySelector('[name=theme][value=light]').click()")
        for place in (0, 4):
            chromium.execute_script(
                f"const r = document.getElementById('alpha'); r.value = {place};"
                "r.dispatchEvent(new Event('input'))"
            )
            wait(chromium, f"Player.state.clip === Listen.line[{place}]")
            expected = chromium.execute_script("return measureOf(Listen.present, 'spectral_centroid_hz')")
            wait(chromium, f"Math.abs({LOUDEST_HZ} / {expected} - 1) < 0.05", seconds=20)
    finally:
        chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
        chromium.execute_script("document.querySelector('[name=theme][value=auto]').click()")


def test_text_on_heatmaps_has_contrast_in_both_themes(opened):
    for theme in ("light", "dark"):
        opened.execute_script(f"document.querySelector('[name=theme][value={theme}]').click()")
        ink, *grounds = opened.execute_script(
            "return ['--ink', '--cold', '--surface', '--warm'].map((n) => Theme.colour(n).match(/[\\d.]+/g))"
        )
        assert min(contrast(ink, ground) for ground in grounds) >= 4.5, theme
    opened.execute_script("document.querySelector('[name=theme][value=auto]').click()")


def contrast(one: list[str], other: list[str]) -> float:
    """WCAG's contrast ratio of two colours given as red, green, blue in 0 ... 255."""

    def luminance(colour: list[str]) -> float:
        shares = [float(value) / 255 for value in colour[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_conditions_stand_in_one_line_where_there_is_room(chromium, pages):
    metrics = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(chromium, pages["folder"].as_uri())
        lines = chromium.execute_script(
            "return [...document.querySelectorAll('td.condition')].map((cell) => { const range = new Range();"
            " range.selectNodeContents(cell); return range.getBoundingClientRect().height; })"
        )
        assert len(lines) == 15 + 25 and max(lines) < 30
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_plots_follow_measure_and_player(opened):
    opened.execute_script(
        "const m = document.getElementById('measure'); m.value = 'spectral_centroid_hz';"
        "m.dispatchEvent(new Event('change')); document.getElementById('curves').scrollIntoView()"
    )
    title = "document.querySelector('#curve-plot .ytitle')?.textContent"
    wait(opened, f"{title} === 'Centroid, change (%)'")
    wait(
        opened,
        "document.querySelector('#cost-plot .ytitle')?.textContent === 'Centroid, change (%)'",
    )
    opened.execute_script("Listen.step(1)")
    wait(opened, "document.getElementById('curve-plot').layout.shapes[0].x0 === Listen.present.alpha")


def test_concepts_with_other_sizes_of_strength_get_panels(chromium, tmp_path):
    bright = {"concept": "brightness", "strategy": "single", "layers": [3]}
    both = [*grid(alphas=(-0.1, 0.1)), *grid(alphas=(-1.0, 1.0), variants=[bright])]
    records = list({entry["id"]: entry | {"file": None} for entry in both}.values())
    write_sweep(tmp_path / "sweep", records)
    command = [
        sys.executable,
        "-m",
        "musicsteer.report",
        tmp_path / "sweep",
        "--out",
        tmp_path / "report",
    ]
    subprocess.run(command, check=True, capture_output=True)
    open_page(chromium, (tmp_path / "report" / "index.html").as_uri())
    plot = "document.getElementById('curve-plot')"
    axes = chromium.execute_script(f"return ['xaxis', 'xaxis2'].map((a) => {plot}.layout[a].title.text)")
    assert [text.split(" of ")[1] for text in axes] == ["tempo", "brightness"]
    ranges = chromium.execute_script(f"return ['xaxis', 'xaxis2'].map((a) => {plot}.layout[a].range[1])")
    assert 0.1 < ranges[0] < 0.2 and 1 < ranges[1] < 2
    chromium.execute_script("document.getElementById('curves').scrollIntoView(); Listen.show(0, '0', 1, 1)")
    wait(chromium, f"{plot}.layout.shapes[0].xref === 'x2' && {plot}.layout.shapes[0].x0 === 1")
