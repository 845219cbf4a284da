"""Snapshots of a training: they change nothing, and a training that was killed ends with the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cepscope.errors import CorruptArtifactError
from cepscope.models import build_cdbn, fit_classifier, pretrain
from cepscope.models.snapshots import PRETRAINED, UNTRAINED, Snapshots, at_snapshot, snapshots_in


class Killed(Exception):
    """Stands for the end of the process."""


def _model(filters: int = 4) -> keras.Model:
    return build_cdbn((8, 16, 1), 3, filters=(filters,), kernel_sizes=((3, 3),), pool_sizes=((2, 2),), seed=0)


def _train(
    bars: Any, folder: Path | None, *, below: bool = False, state: Path | None = None, until: int = 99
) -> tuple[Any, list[Path]]:
    """Train for five epochs with labels, `below` without them first; end after epoch `until`."""

    def stop(_name: str, epoch: int, _epochs: int, _row: Any) -> None:
        if epoch == until:
            raise Killed

    model = _model()
    taken = None if folder is None else Snapshots(model, folder)
    if taken:
        taken.keep(UNTRAINED)
    if below:
        pretrain(model, bars.x, epochs=1, batch_size=40)
    if below and taken:
        taken.keep(PRETRAINED)
    fit_classifier(
        model, bars.x, bars.y, epochs=5, batch_size=60, checkpoint=state, progress=stop,
        callbacks=[taken.callback()] if taken else (),
    )  # fmt: skip
    return model, [] if taken is None else taken.finish(5)


@pytest.fixture(scope="module")
def trained(bars: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Path]]:
    return _train(bars, tmp_path_factory.mktemp("taken"), below=True)


@pytest.mark.slow
def test_snapshots_change_no_bit_of_the_network(bars: Any, trained: tuple[Any, list[Path]]) -> None:
    plain, _ = _train(bars, None, below=True)
    for with_snapshots, without in zip(trained[0].get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(with_snapshots, without)


def test_a_snapshot_is_the_network_of_its_moment(bars: Any, trained: tuple[Any, list[Path]]) -> None:
    model, paths = trained
    assert [path.stem for path in paths] == ["untrained", "pretrained", "epoch-1", "epoch-2", "epoch-4"]
    x = bars.x[:8]
    np.testing.assert_array_equal(at_snapshot(model, paths[0])(x), _model()(x))
    said = [at_snapshot(model, path)(x).numpy() for path in paths] + [model(x).numpy()]
    assert all(np.abs(one - other).max() > 1e-4 for i, one in enumerate(said) for other in said[:i])
    np.testing.assert_array_equal(model(x), said[-1])  # which stayed as it was


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_snapshots(bars: Any, tmp_path: Path) -> None:
    _train(bars, tmp_path / "alone")
    with pytest.raises(Killed):
        _train(bars, tmp_path / "killed", state=tmp_path / "state.npz", until=3)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "killed").iterdir()}
    _train(bars, tmp_path / "killed", state=tmp_path / "state.npz")
    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("alone", "killed")
    )
    assert one == other
    assert (tmp_path / "killed" / "epoch-1.npz").stat().st_mtime_ns == before["epoch-1.npz"]  # it did go on


def test_what_another_training_left_is_removed(tmp_path: Path) -> None:
    model = _model()
    Snapshots(model, tmp_path).keep(PRETRAINED)  # of one with pretraining that was killed later
    for epoch in (1, 2, 4, 8):
        Snapshots(model, tmp_path).keep(f"epoch-{epoch}")
    (tmp_path / "mine.npz").write_bytes(b"somebody's own")
    taken = Snapshots(model, tmp_path)
    taken.keep(UNTRAINED)
    assert [path.stem for path in taken.finish(3)] == ["untrained", "epoch-1", "epoch-2"]
    assert (tmp_path / "mine.npz").exists()
    assert snapshots_in(tmp_path / "none") == []


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    Snapshots(_model(5), tmp_path).keep(UNTRAINED)
    with pytest.raises(CorruptArtifactError, match="no snapshot of this network"):
        at_snapshot(_model(), tmp_path / "untrained.npz")
    (tmp_path / "untrained.npz").write_bytes(b"")
    with pytest.raises(CorruptArtifactError, match="can't be read"):
        at_snapshot(_model(), tmp_path / "untrained.npz")
