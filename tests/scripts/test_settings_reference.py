"""docs/settings.md says what the program says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from settings_reference import options_of, reference  # noqa: E402


def test_the_page_is_what_the_program_says() -> None:
    found = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert found == reference(), "run scripts/settings_reference.py > docs/settings.md"


def test_every_key_is_in_the_schema_of_steering_files() -> None:
    schema = json.loads((ROOT / "docs" / "steering.schema.json").read_text(encoding="utf-8"))
    keys = {option.flag.replace("-", "_") for option in options_of("generate", "Steering")} - {"steer"}
    entry = schema["$defs"]["entry"]["properties"]
    assert len(keys) >= 16 and keys <= set(entry), keys - set(entry)
