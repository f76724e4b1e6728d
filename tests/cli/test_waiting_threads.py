"""The program's OpenMP threads wait gently, unless the user says how."""

from __future__ import annotations

import os
import subprocess

import pytest
from program import PROGRAM


def openmp_settings(**variables: str) -> str:
    """What GNU's OpenMP says of its settings when it is loaded."""
    decided = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in decided}
    process = subprocess.run(
        [PROGRAM, "--version"],
        env={**environment, "OMP_DISPLAY_ENV": "VERBOSE", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.startswith("musicsteer ")
    return process.stderr


def test_threads_do_not_wait_awake_for_long() -> None:
    assert "GOMP_SPINCOUNT = '2000'" in openmp_settings()


@pytest.mark.parametrize("name, value", [("GOMP_SPINCOUNT", "77"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_the_users_setting_stays(name: str, value: str) -> None:
    settings = openmp_settings(**{name: value})
    assert f"{name} = '{value}'" in settings
    assert "'2000'" not in settings
