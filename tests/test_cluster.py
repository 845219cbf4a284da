"""The same commands alone, on Dask with a worker killed in every stage: the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_that_loses_workers_ends_on_the_same_bytes(project_root: Path, words: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    script = [sys.executable, str(project_root / "scripts" / "cluster.py"), "--json", "--corpus", str(words)]
    done = subprocess.run([*script, "--ways", "alone", "killed"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["killed"]
    assert found["differ"] == []
    assert found["files"] > 30
    assert "maximize" in found["killed_in"]  # it has several pieces and takes seconds
