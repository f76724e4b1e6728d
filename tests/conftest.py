"""Programs that tests start find the package where pytest does (pyproject.toml, pythonpath): in this tree."""

import os
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parents[1] / "src" / "python"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(PACKAGE_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
)
