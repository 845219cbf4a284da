"""Small folders made from real clips of the built-in corpus."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cepscope.corpora import Corpus, load_corpus


@pytest.fixture(scope="session")
def digits() -> Corpus:
    """Return the built-in corpus."""
    return load_corpus("spoken-digits")


@pytest.fixture
def class_folder(tmp_path: Path, digits: Corpus) -> Callable[..., Path]:
    """Return a maker of folders with one subfolder for each class, copied from built-in clips."""

    def make(name: str = "mine", *, labels: tuple[str, ...] = ("one", "two", "six"), clips: int = 6) -> Path:
        root = tmp_path / name
        for label in labels:
            (root / label).mkdir(parents=True)
            for clip in [c for c in digits.clips if c.label == label][:clips]:
                shutil.copy(clip.path, root / label)
        return root

    return make


@pytest.fixture
def metadata_folder(tmp_path: Path, digits: Corpus) -> Callable[..., Path]:
    """Return a maker of folders with audio/ and a metadata.csv of the given lines."""

    def make(lines: str, *, clips: int = 8) -> Path:
        root = tmp_path / "listed"
        (root / "audio").mkdir(parents=True)
        for i, clip in enumerate(c for c in digits.clips if c.label in ("one", "two")):
            if i < clips:
                shutil.copy(clip.path, root / "audio" / f"{i}.flac")
        (root / "metadata.csv").write_text(lines, encoding="utf-8")
        return root

    return make
