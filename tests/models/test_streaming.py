"""Corpora larger than a window or on disk: order, what is read, and that where patches lie changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cepscope.errors import ParameterError
from cepscope.models import batches, build_cdbn, fit_classifier, pretrain
from cepscope.models.batches import EpochBatches
from cepscope.models.checkpoint import key_of
from cepscope.models.sources import ArraySource, PatchSource, pieces, some, source_of

Array = npt.NDArray[Any]


@pytest.fixture
def on_disk(bars: Any, tmp_path: Path) -> Array:
    np.save(tmp_path / "x.npy", bars.x)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WINDOW", 40)


class Counting:
    """A source that notes what is read."""

    def __init__(self, x: Array, y: Array | None = None) -> None:
        self.x, self.y, self.shape = x, y, x.shape[1:]
        self.reads: list[Array] = []

    def __len__(self) -> int:
        return len(self.x)

    def read(self, indices: Array) -> Array:
        self.reads.append(indices)
        return self.x[indices]


def _small() -> Any:
    return build_cdbn((8, 16, 1), 3, filters=(4, 6), kernel_sizes=((3, 3), (2, 3)), pool_sizes=((2, 2), (1, 2)))


def _train(x: Any, y: Array, checkpoint: Path | None = None) -> list[Array]:
    model = _small()
    pretrain(model, x, held_out=x, epochs=1, batch_size=32, seed=3, checkpoint=checkpoint)
    fit_classifier(model, x, y, validation=(x, y), epochs=1, batch_size=32, shift=2, seed=3)
    return [np.asarray(w) for w in model.get_weights()]


def _equal(one: list[Array], two: list[Array]) -> None:
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("narrow")
def test_windows_hold_runs_of_neighbours_and_every_patch_comes_once(bars: Any) -> None:
    found = EpochBatches(bars.x, batch_size=16, seed=1)
    orders = []
    for epoch in range(2):
        found.begin(epoch)
        np.testing.assert_array_equal(np.sort(found.order), np.arange(150))
        for begin in range(0, 150, 40):
            held = np.sort(found.order[begin : begin + 40])
            assert (np.diff(held) > 1).sum() <= 5  # runs of 10, of which two may be cut
            assert (np.diff(found.order[begin : begin + 40]) != 1).mean() > 0.8  # mixed within
        orders.append(found.order)
    assert (orders[0] != orders[1]).any()


@pytest.mark.usefixtures("narrow")
def test_a_source_is_read_once_an_epoch_in_rising_order_and_a_window_at_a_time(bars: Any) -> None:
    source = Counting(bars.x)
    assert isinstance(source, PatchSource)
    found, right = EpochBatches(source, batch_size=16, seed=1), EpochBatches(bars.x, batch_size=16, seed=1)
    for got, expected in zip(found.dataset(), [right[i] for i in range(len(right))], strict=True):
        np.testing.assert_array_equal(got, expected)
    assert [len(indices) for indices in source.reads] == [40, 40, 40, 30]
    assert all((np.diff(indices) > 0).all() for indices in source.reads)


@pytest.mark.parametrize("window", [40, 1000])
@pytest.mark.parametrize("device", [0, 1, 2])
def test_a_device_reads_what_it_takes_and_no_more(
    bars: Any, monkeypatch: pytest.MonkeyPatch, device: int, window: int
) -> None:
    monkeypatch.setattr(batches, "WINDOW", window)
    source = Counting(bars.x, bars.y)
    found = EpochBatches(source, bars.y, batch_size=16, seed=1)
    found.replicas, found.own = 3, range(device, device + 1)
    found.begin(1)
    whole = EpochBatches(bars.x, bars.y, batch_size=16, seed=1)
    whole.begin(1)
    for index in range(len(whole)):
        x, y = whole[index]
        size = -(-len(x) // 3)
        got_x, got_y = found.share(index, device)
        np.testing.assert_array_equal(got_x, x[device * size : (device + 1) * size])
        np.testing.assert_array_equal(got_y, y[device * size : (device + 1) * size])
    read = sum(len(indices) for indices in source.reads)
    assert read == sum(len(found.share(i, device)[0]) for i in range(len(found)))


def test_small_corpora_on_disk_train_to_the_same_bits(bars: Any, on_disk: Array) -> None:
    _equal(_train(on_disk, bars.y), _train(bars.x, bars.y))


@pytest.mark.usefixtures("narrow")
def test_where_patches_lie_changes_nothing(bars: Any, on_disk: Array) -> None:
    """Of more than a window: in memory, on disk, or from a source of somebody else's."""
    expected = _train(bars.x, bars.y)
    _equal(_train(on_disk, bars.y), expected)
    _equal(_train(Counting(bars.x), bars.y), expected)


@pytest.mark.usefixtures("narrow")
def test_deeper_layers_learn_the_same_whether_brought_up_at_once_or_with_each_batch(
    bars: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is told to be the same, so that what is left is rounding and the patches that biases start from."""
    order = np.random.default_rng(5).permutation(150)
    monkeypatch.setattr(EpochBatches, "begin", lambda self, epoch: setattr(self, "order", order))
    kernels = []
    for window in (40, 1000):
        monkeypatch.setattr(batches, "WINDOW", window)
        model = _small()
        pretrain(model, bars.x, epochs=2, batch_size=32, seed=3)
        kernels.append([model.get_layer(name).kernel.numpy() for name in ("crbm1", "crbm2")])
    for one, two in zip(*kernels, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


def test_a_map_is_hashed_and_sampled_as_its_array(bars: Any, on_disk: Array) -> None:
    assert key_of(source_of(on_disk), n=1) == key_of(bars.x, n=1) != key_of(bars.x[::-1], n=1)
    view = source_of(on_disk[30:, ::2])
    np.testing.assert_array_equal(np.concatenate(list(pieces(view))), bars.x[30:, ::2])
    np.testing.assert_array_equal(some(source_of(on_disk), 4), bars.x[[0, 49, 99, 149]])


def test_a_copy_on_write_map_keeps_what_was_written(bars: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", bars.x)
    x = np.load(tmp_path / "x.npy", mmap_mode="c")
    x[3] = 7.0
    assert (source_of(x).read(np.array([3])) == 7.0).all()
    assert (x[3] == 7.0).all()


def test_a_source_brings_its_classes(bars: Any) -> None:
    rows = fit_classifier(_small(), ArraySource(bars.x, bars.y), epochs=1)
    assert rows[0]["epoch"] == 1
    with pytest.raises(ParameterError, match="need their classes"):
        fit_classifier(_small(), ArraySource(bars.x), epochs=1)
