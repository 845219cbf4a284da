"""`scripts/limits.py` measures what it says, at sizes that take no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def measured(root: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(root / "scripts" / "limits.py"), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_extraction_is_measured_by_clips(project_root: Path) -> None:
    found = measured(project_root, "extract", "--sizes", "20", "250", "--frames", "32")
    few, many = found["rows"]
    assert (few["clips"], many["clips"], found["frames"]) == (20, 250, 32)
    assert few["bytes_a_clip"] == many["bytes_a_clip"] == 20 * 32 * 4
    assert many["clips_per_s"] > 0
    assert 20 < many["read_peak_mb"] < many["peak_mb"] < 2000  # librosa is loaded to extract, not to read
    assert "mb_per_1000_more" not in few
    assert many["mb_per_1000_more"] == round((many["peak_mb"] - few["peak_mb"]) / 0.23, 1)


def test_the_command_is_watched_with_all_of_its_processes(project_root: Path) -> None:
    found = measured(project_root, "command", "--sizes", "600", "--workers", "2", "--frames", "32")
    (row,) = found["rows"]
    assert row["clips"] == 600
    assert 20 < row["called_peak_mb"] < row["peak_mb"] < 1000  # three processes have more than the one that was called


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "arguments", "counted"),
    [
        ("maximize", ("--sizes", "2", "70", "--steps", "2", "--memory", "1", "--clips", "50"), "units"),
        ("invert", ("--sizes", "1", "2", "--frames", "16"), "patterns"),
    ],
)
def test_the_others_are_measured_by_what_they_make(
    stage: str, arguments: tuple[str, ...], counted: str, project_root: Path
) -> None:
    found = measured(project_root, stage, *arguments)
    assert [row[counted] for row in found["rows"]] == [int(word) for word in arguments[1:3]]
    assert all(row["peak_mb"] >= row["before_mb"] > 0 and row["seconds"] > 0 for row in found["rows"])
