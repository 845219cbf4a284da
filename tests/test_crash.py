"""Runs that end when they should not: killed, or on a full disk. `scripts/crash.py` does far more of the former."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SMALL = (
    "features.sr=8000", "features.frames=48", "model.filters=[3, 4]", "train.pretrain_epochs=1", "train.epochs=2",
    "maximize.steps=4", "invert.method=fast", "report.exemplars=2",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ended_at_any_moment_a_run_ends_on_the_same_bytes(project_root: Path) -> None:
    command = [sys.executable, project_root / "scripts" / "crash.py", "--kills", "6", "--signal", "any", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["failures"] == []
    assert found["kills"] == sum(found["stages"].values()) == 6
    assert done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Any]:
    """Return what makes a small disk of so many kilobytes; it may grow."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def size(kilobytes: int) -> Path:
        nonlocal mounted
        option = f"{'remount,' if mounted else ''}size={kilobytes}k"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "none", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk takes the right to mount one: {done.stderr.decode().strip()}")
        mounted = True
        return place

    yield size
    if mounted:
        subprocess.run(["umount", "--lazy", place], check=True)  # patches may still be mapped


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_full_disk_keeps_what_was_done(cepscope: Any, words: Path, disk: Any) -> None:
    """The disk grows step by step, and ends where a run without such trouble does."""
    settings = [word for setting in SMALL for word in ("--set", setting)]
    done: list[str] = []
    for kilobytes in (8, 70, 160, 330, 460):
        out = disk(kilobytes) / "run"
        assert cepscope("run", words, "--out", out, *settings) == 1, kilobytes
        last = cepscope.err.splitlines()[-1]
        assert "no space left on device); make room and run the same command again" in last
        assert list(out.rglob(".*")) == []
        record = out / "run.json"
        stages = json.loads(record.read_text())["stages"] if record.is_file() else {}
        finished = [name for name, entry in stages.items() if "fingerprint" in entry]
        assert finished[: len(done)] == done  # nothing is lost again
        done = finished
    assert len(done) > 2
    out = disk(4000) / "run"
    assert cepscope("run", words, "--out", out, *settings) == 0, cepscope.err
    assert cepscope.err.count("unchanged, skipped") == len(done)
