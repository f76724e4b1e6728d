"""Makes what can be heard and seen before installing: docs/listen/ and the picture of the page.

.venv/bin/python scripts/listen.py            from the demo's sweep, out/demo/sweep
.venv/bin/python scripts/listen.py runs/tempo

docs/listen/index.html    the listening page as one file of at most 3 MB
docs/listen/CONCEPT.mp3   of each direction the lowest strength, no steering and the highest strength
docs/images/page.png      what the page looks like (needs Chromium and its driver: scripts/setup.sh --browser)
docs/results.md           the demo's table in it
"""

from __future__ import annotations

import argparse
import base64
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src" / "python"))  # what is installed may be older

import medley  # noqa: E402
import soundfile  # noqa: E402

from musicsteer.report import cli  # noqa: E402
from musicsteer.report.errors import ReportError  # noqa: E402
from musicsteer.report.loading import Sweep, read_sweeps  # noqa: E402
from musicsteer.report.terminal import format_tables  # noqa: E402

LISTEN = ROOT / "docs" / "listen"
PICTURE = ROOT / "docs" / "images" / "page.png"
WIDTH, HEIGHT = 1200, 880
RESULTS = ROOT / "docs" / "results.md"
SCALES = (0.8, 0.7, 0.6, 0.5)
PICTURE_BYTES = 300_000
EXCERPT_S = 6.0


def write_excerpts(sweep: Sweep) -> list[Path]:
    """An MP3 of each direction's lowest strength, no steering, and highest strength."""
    made = []
    for concept, one in medley.medleys_of(sweep).items():
        ends = [one.clips[0], next(c for c in one.clips if c.alpha == 0), one.clips[-1]]
        samples, rate = medley.joined(ends, EXCERPT_S)
        out = LISTEN / f"{concept}.mp3"
        soundfile.write(out, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
        made.append(out)
    return made


def update_results(sweep: Sweep) -> None:
    """The first block of code behind "## The demo" in docs/results.md becomes the demo's table."""
    text = RESULTS.read_text(encoding="utf-8")
    start = text.index("```\n", text.index("## The demo\n")) + 4
    table = format_tables(sweep, others=False)
    RESULTS.write_text(text[:start] + table + text[text.index("```", start) :], encoding="utf-8")


def take_picture(page: Path) -> None:
    """The top of the page in a window of WIDTH x HEIGHT, at the highest strength of the first direction.

    It is scaled down until it has less than PICTURE_BYTES.

    Raises:
        RuntimeError: no Chromium, or a picture that is too large.
    """
    from selenium import webdriver

    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not browser or not driver:
        raise RuntimeError("no picture without Chromium: scripts/setup.sh --browser installs it")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        running.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        running.get(page.as_uri())
        wait(running, "document.documentElement.dataset.ready === 'true'")
        running.execute_script("Listen.move(Listen.line.length - 1)")
        wait(running, "Player.state.clip === Listen.line.at(-1)")
        wait(running, "!byId('status').textContent")
        time.sleep(3)  # the spectrogram is computed by a worker
        for scale in SCALES:
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": scale}
            shot = running.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
            picture = base64.b64decode(shot["data"])
            if len(picture) < PICTURE_BYTES:
                PICTURE.parent.mkdir(parents=True, exist_ok=True)
                PICTURE.write_bytes(picture)
                return
    finally:
        running.quit()
    raise RuntimeError(f"the picture has {len(picture)} bytes, more than {PICTURE_BYTES}")


def wait(browser: object, condition: str, seconds: float = 120) -> None:
    """Until an expression of JavaScript is true."""
    end = time.monotonic() + seconds
    while not browser.execute_script(f"return Boolean({condition})"):  # type: ignore[attr-defined]
        if time.monotonic() > end:
            raise RuntimeError(f"the page never came to {condition}")
        time.sleep(0.1)


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sweep", nargs="?", type=Path, default=ROOT / "out" / "demo" / "sweep", metavar="RUNS"
    )
    parser.add_argument("--no-picture", action="store_true", help="leave docs/images/page.png as it is")
    options = parser.parse_args()
    LISTEN.mkdir(parents=True, exist_ok=True)
    page = LISTEN / "index.html"
    made = [page]
    if code := cli.main([str(options.sweep), "--small", "--force", "--out", str(page)]):
        return code
    # Commands on the page name files as they lie for who clones the repository.
    page.write_text(page.read_text(encoding="utf-8").replace(f"{ROOT}/", ""), encoding="utf-8")
    try:
        sweep = read_sweeps([options.sweep])
        made += write_excerpts(sweep)
        update_results(sweep)
        if not options.no_picture:
            take_picture(page)
            made.append(PICTURE)
    except (ReportError, medley.MedleyError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for file in made:
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
