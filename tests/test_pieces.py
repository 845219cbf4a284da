"""Stages in pieces: the same bytes, whoever does them, in shares, and when workers are lost."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.config import RunConfig, load_config
from cepscope.maximize import search
from cepscope.pipeline import by_unit, run_stages, stages
from cepscope.pipeline.ledger import Ledger
from cepscope.pipeline.pieces import Piece, Pieces
from cepscope.workers import Share, Workers

SMALL = (
    "features.sr=8000", "features.frames=48", "model.filters=[3, 4]", "train.pretrain_epochs=1", "train.epochs=2",
    "maximize.steps=20", "maximize.batch=2", "invert.method=fast", "report.exemplars=2",
)  # fmt: skip
STAGES = ("maximize", "invert", "probe")
FOLDERS = {"maximize": "patterns/search", "invert": "audio/pieces", "probe": "patterns/probe"}


def double(piece: Piece, *, context: Any = None, report: Callable[[int], None] = print) -> str:
    for done in piece.rows:
        report(done + 1 - piece.first)
    return piece.write(x=2 * np.arange(piece.first, piece.stop), who=context is not None)


def pieces(folder: Path, *, key: str = "one", seen: list[Any] | None = None, share: Share | None = None) -> Pieces:
    context = stages.Context(folder, RunConfig(), Ledger(folder), key=key, share=share)
    if seen is not None:
        context.progress = lambda *what: seen.append(what)
    return Pieces(context, folder / "pieces", [range(3), range(3, 5)])


def do(some: Pieces) -> None:
    some.work(double, "doubled", Workers(count=1), weigh=lambda piece: len(piece.rows))


def test_progress_counts_within_pieces_in_one_process(tmp_path: Path) -> None:
    seen: list[Any] = []
    one = pieces(tmp_path, seen=seen)
    do(one)
    assert list(dict.fromkeys(seen)) == [("doubled", i, 5) for i in range(1, 6)]
    assert np.concatenate([found["x"] for found in one.read()]).tolist() == [0, 2, 4, 6, 8]
    one.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_share_is_found_by_the_next(tmp_path: Path) -> None:
    do(pieces(tmp_path, share=Share(2, 2)))
    assert [path.name for path in (tmp_path / "pieces").iterdir()] == ["00000003.npz"]
    seen: list[Any] = []
    do(pieces(tmp_path, seen=seen))
    assert seen[0] == ("doubled", 3, 5)  # two are there


@pytest.mark.parametrize("change", ["settings", "bytes", "ranges"])
def test_a_piece_of_something_else_is_done_again(tmp_path: Path, change: str) -> None:
    do(pieces(tmp_path, key="other" if change == "settings" else "one"))
    if change == "bytes":
        path = tmp_path / "pieces" / "00000000.npz"
        path.write_bytes(path.read_bytes()[:-30])
    again = pieces(tmp_path)
    if change == "ranges":
        again = Pieces(again.context, again.folder, [range(2), range(3, 5)])
    stale = [again._is_done(piece) for piece in again.every]
    assert stale == [False, change != "settings"]
    do(again)
    assert all(again._is_done(piece) for piece in again.every)


@pytest.fixture(scope="module")
def config(words: Path) -> RunConfig:
    return load_config(overrides=SMALL, flags={"corpus": str(words)}, environment={})


@pytest.fixture(scope="module")
def run(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run up to the report, in small pieces, by one process."""
    from cepscope.maximize import viewing
    from cepscope.probe import measures

    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:  # nine units in several pieces
        for module, name, size in ((by_unit, "SOUNDS", 4), (viewing, "TOGETHER", 3), (measures, "BLOCK", 5)):
            patch.setattr(module, name, size)
        for stage in ("extract", "train", *STAGES):
            run_stages(folder, config, only=stage, workers=Workers(count=1))
        yield folder


def files(folder: Path) -> dict[str, bytes]:
    """Every file by its place but the record, which holds times."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def undone(run: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return what copies the run without the files of a stage."""

    def copy(stage: str) -> Path:
        folder = Path(shutil.copytree(run, tmp_path / stage))
        for name in Ledger(folder).outputs(stage):
            (folder / name).unlink()
        return folder

    return copy


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_shares_end_on_the_same_bytes(stage: str, run: Path, undone: Any, config: RunConfig) -> None:
    folder = undone(stage)
    for number in (2, 1):
        run_stages(folder, config, only=stage, share=Share(number, 2))
    assert not any((folder / name).exists() for name in Ledger(run).outputs(stage))
    assert any((folder / FOLDERS[stage]).iterdir())
    seen: list[Any] = []
    run_stages(folder, config, only=stage, progress=lambda *what: seen.append(what))
    assert seen == []  # all was there
    assert files(folder) == files(run)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_end_on_the_same_bytes(stage: str, run: Path, undone: Any, config: RunConfig) -> None:
    folder = undone(stage)
    run_stages(folder, config, only=stage, workers=Workers(count=2))
    assert files(folder) == files(run)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_cluster_ends_on_the_same_bytes(stage: str, run: Path, undone: Any, config: RunConfig, cluster: Any) -> None:
    folder = undone(stage)
    run_stages(folder, config, only=stage, workers=Workers(cluster=cluster.address))
    assert files(folder) == files(run)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_worker_is_killed(
    where: str, run: Path, undone: Any, config: RunConfig, request: pytest.FixtureRequest
) -> None:
    folder, seen, killed = undone("maximize"), [], []
    if where == "cluster":
        from distributed import Client

        workers = Workers(cluster=request.getfixturevalue("cluster").address)
        with Client(workers.cluster, set_as_default=False) as client:
            numbers = list(client.run(os.getpid).values())
    else:
        workers, numbers = Workers(count=2), []

    def progress(what: str, done: int, total: int) -> None:
        seen.append((what, done, total))
        if not killed:
            killed.append((numbers or _processes())[0])
            os.kill(killed[0], signal.SIGKILL)

    run_stages(folder, config, only="maximize", workers=workers, progress=progress)
    assert killed
    assert [done for _, done, _ in seen] == [20 * i for i in range(1, 6)]  # steps of five batches
    assert files(folder) == files(run)


def _processes() -> list[int]:
    """Return the numbers of the processes that do pieces here."""
    from joblib.externals.loky.reusable_executor import _executor

    return list(_executor._processes)


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_batch_by_batch(
    run: Path, undone: Any, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = undone("maximize")
    monkeypatch.setattr(search, "SECONDS", 0.0)

    class Killed(Exception):
        pass

    def progress(_what: str, done: int, _total: int) -> None:
        if done == 3 * 20:  # before what the third batch found is written
            raise Killed

    with pytest.raises(Killed):
        run_stages(folder, config, only="maximize", progress=progress)
    left = sorted(path.name for path in (folder / FOLDERS["maximize"]).iterdir())
    assert left == ["00000000.npz", "00000002.npz", "00000004.npz"]
    seen: list[int] = []
    run_stages(folder, config, only="maximize", progress=lambda _what, done, _total: seen.append(done))
    assert min(seen) == 3 * 20  # the third goes on at its 16th step
    assert files(folder) == files(run)
