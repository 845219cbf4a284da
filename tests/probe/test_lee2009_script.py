"""scripts/lee2009.py on the built-in corpus: every kind of change of a recipe runs and is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_choices_are_measured_on_clips_that_no_table_tests(project_root: Path) -> None:
    names = ["whitened frames", "8 stretches of the whole patch"]
    command = [sys.executable, str(project_root / "scripts" / "lee2009.py"), "choices", "--corpus", "spoken-digits"]
    command += ["--quick", "--json", *(word for name in names for word in ("--only", name))]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert list(found) == names
    for entry in found.values():
        assert list(entry) == ["1", "5", "20"]
        for row in entry.values():
            assert list(row) == ["mfcc", "mfcc_pooled", "crbm1", "crbm2", "crbm1+crbm2"]
            assert all(0 <= one["error"] < 0.9 for one in row.values())
    white, whole = (entry["20"] for entry in found.values())
    assert white["mfcc"] == whole["mfcc"]
    assert white["mfcc_pooled"]["error"] != whole["mfcc_pooled"]["error"]
    assert white["crbm1"]["error"] != whole["crbm1"]["error"]
