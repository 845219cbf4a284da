"""Who does the work, said on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cepscope.corpora.extract import write_features
from cepscope.pipeline.ledger import run_folder

SMALL = ("--set", "features.sr=8000", "--set", "features.frames=32")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shares_and_processes_leave_the_bytes_of_one(cepscope: Any, words: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(write_features.__kwdefaults__, "shard_size", 4)
    assert cepscope("extract", words, "--out", "one", "--workers", 1, *SMALL) == 0, cepscope.err
    for number in (1, 2, 3):
        assert cepscope("extract", words, "--out", "shared", "--shard", f"{number}/3", *SMALL) == 0, cepscope.err
        assert f"Shard {number}/3 is there" in cepscope.err
        assert not Path("shared/run.json").exists()
        assert not Path("shared/features/manifest.json").exists()
    made = {path: path.stat().st_mtime_ns for path in Path("shared/features").glob("mfcc-*.npz")}
    assert len(made) > 3
    assert cepscope("extract", words, "--out", "shared", *SMALL) == 0, cepscope.err
    assert {path: path.stat().st_mtime_ns for path in made} == made  # found, not made again
    assert cepscope("extract", words, "--out", "two", "--workers", 2, *SMALL) == 0, cepscope.err
    assert contents(Path("one/features")) == contents(Path("shared/features")) == contents(Path("two/features"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--workers", "2", "--cluster", "dask:2"],
            "A cluster has its own workers; leave out their number. Received: 2",
        ),
        (["--cluster", "localhost"], "N workers on this machine. Received: 'localhost'"),
        (["--shard", "4/3"], "A shard is i/n, i from 1 to n, as 3/8. Received: '4/3'"),
    ],
)
def test_what_can_not_be_is_one_line(flags: list[str], message: str, cepscope: Any, words: Path) -> None:
    assert cepscope("extract", words, "--out", "run", *flags) == 2
    assert len(cepscope.err.splitlines()) == 1
    assert message in cepscope.err
    assert not Path("run").exists()


@pytest.mark.parametrize(("stage", "flag"), [("maximize", "--json"), ("probe", "--json"), ("invert", "--compare")])
def test_a_share_has_no_result_to_show(stage: str, flag: str, cepscope: Any) -> None:
    Path("run").mkdir()
    Path("run/run.toml").touch()
    assert cepscope(stage, "run", "--shard", "1/2", flag) == 2
    assert f"{flag} wants the result of all shards; leave it out. Received: --shard 1/2" in cepscope.err


def test_two_stages_do_not_share_a_run(cepscope: Any, words: Path) -> None:
    with run_folder(Path("run").absolute(), shared=True):
        assert cepscope("extract", words, "--out", "run", "--shard", "1/2", *SMALL) == 0, cepscope.err
        assert cepscope("extract", words, "--out", "run", *SMALL) == 1
        assert "is working in" in cepscope.err
    assert cepscope("extract", words, "--out", "run", *SMALL) == 0, cepscope.err
