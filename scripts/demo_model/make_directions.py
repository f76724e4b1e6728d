"""Makes MODEL/directions/: the vector of each concept of MODEL/steering.json, and how it was evaluated.

    python make_directions.py --model ../../models/demo

`musicsteer export` copies the folder into the bundle, where `--steer tempo` finds it (docs/formats.md).
Run it again whenever the weights or steering.json change; it takes as long as extracting each concept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors import safe_open
from steering_runs import Setting, musicsteer

# What measure.py calls a measure -> what the program does.
MEASURES = {"onset_rate": "onsets", "tempo_bpm": "tempo", "centroid_hz": "centroid"}


def steering_file(concept: str, settings: dict[str, Any], vectors: Path) -> dict[str, Any]:
    """A steering file with the settings that were chosen; its default strength is the upper end."""
    with safe_open(vectors, "np") as opened:
        metadata = opened.metadata()
    low, high = min(settings["alphas"]), max(settings["alphas"])
    entry = {"file": vectors.name, "sha256": hashlib.sha256(vectors.read_bytes()).hexdigest()}
    for key in ("strategy", "source_layer", "layers", "unit", "rows", "schedule"):
        if settings.get(key) is not None:
            entry[key] = settings[key]
    found = settings.get("evaluated") or settings["chosen_on"]
    evidence = {
        "concept": concept,
        "measure": MEASURES[found["measure"]],
        "clips": found["clips"],
        "ends": [{"alpha": low, "change": found["low"]}, {"alpha": high, "change": found["high"]}],
    }
    return {
        "format": "musicsteer-steering",
        "format_version": 1,
        "oldest_reader": 1,
        "model": {"name": metadata["model"], "weights_sha256": metadata["weights_sha256"]},
        "steering": [entry | {"alpha": high, "alpha_range": [low, high]}],
        "evidence": evidence,
    }


def make(model: Path, bundle: Path, work: Path, out: Path) -> None:
    """Extracts each concept's direction into `out`, from its whole prompt set."""
    concepts = json.loads((model / "steering.json").read_text(encoding="utf-8"))["concepts"]
    for concept, settings in concepts.items():
        vectors = out / f"{concept}.safetensors"
        shutil.copy(Setting.of(settings).extract(bundle, concept, work), vectors)
        text = json.dumps(steering_file(concept, settings, vectors), indent=2) + "\n"
        (out / f"{concept}.json").write_text(text, encoding="utf-8")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="checkpoint with steering.json")
    arguments = parser.parse_args()
    target = arguments.model / "directions"
    # The bundle that the vectors are made with has no directions of older weights.
    with tempfile.TemporaryDirectory() as work:
        checkpoint, out = Path(work) / arguments.model.resolve().name, Path(work) / "directions"
        shutil.copytree(arguments.model, checkpoint, ignore=shutil.ignore_patterns("directions"))
        musicsteer("export", checkpoint, Path(work) / "bundle")
        out.mkdir()
        make(arguments.model, Path(work) / "bundle", Path(work), out)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(out, target)
    print(target)


if __name__ == "__main__":
    main()
