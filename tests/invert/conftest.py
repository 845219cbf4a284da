"""Real speech as MFCC patterns, and patterns that no one has spoken."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cepscope.audio import condition, read_audio
from cepscope.features import MfccSpec, fit_length, mfcc

FRAMES = 64
NARROW = MfccSpec(sr=8000, n_mfcc=20, floor=1e-5)
WIDE = MfccSpec(sr=16000, n_mfcc=20, floor=1e-5)


def patterns_of(folder: Path, spec: MfccSpec, *, count: int, seed: int = 0) -> np.ndarray:
    """MFCC (count, n_mfcc, FRAMES) of clips drawn from a corpus, conditioned as every extraction does."""
    with (folder / "metadata.csv").open(newline="") as file:
        names = [row["file_name"] for row in csv.DictReader(file)]
    chosen = np.random.default_rng(seed).permutation(len(names))[:count]
    audio = [condition(read_audio(folder / names[i], sr=spec.sr)[0]) for i in chosen]
    return np.stack([fit_length(mfcc(y, spec), FRAMES, spec) for y in audio])


@pytest.fixture(scope="session")
def narrow() -> MfccSpec:
    return NARROW


@pytest.fixture(scope="session")
def wide() -> MfccSpec:
    return WIDE


@pytest.fixture(scope="session")
def fsdd(shared_dir: Path) -> np.ndarray:
    """Twelve patterns of people saying digits, 8 kHz."""
    return patterns_of(shared_dir / "corpora" / "fsdd", NARROW, count=12)


@pytest.fixture(scope="session")
def digits(project_root: Path) -> np.ndarray:
    """Twelve patterns of the built-in corpus, 16 kHz."""
    return patterns_of(project_root / "data" / "spoken-digits", WIDE, count=12)


@pytest.fixture(scope="session")
def clip(project_root: Path) -> tuple[np.ndarray, int]:
    """2.5 s of the built-in digits, one after the other, at 8 kHz."""
    files = sorted((project_root / "data" / "spoken-digits").rglob("*.flac"))[:400:50]
    y = np.concatenate([read_audio(path, sr=8000)[0] for path in files])
    return y[:20000], 8000


@pytest.fixture(scope="session")
def drawn(digits: np.ndarray) -> np.ndarray:
    """Six smooth random patterns: mean and main directions of real ones, 16 kHz."""
    flat = digits.reshape(len(digits), -1)
    mean = flat.mean(axis=0)
    _, scale, directions = np.linalg.svd(flat - mean, full_matrices=False)
    z = np.random.default_rng(1).standard_normal((6, 8))
    return (mean + (z * scale[:8] / np.sqrt(len(digits))) @ directions[:8]).reshape(6, *digits.shape[1:])
