"""A training that was killed goes on as if nothing had happened: the same bits in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from cepscope.models import build_cdbn, checkpoint, fit_classifier, pretrain

Array = npt.NDArray[Any]


class Killed(Exception):
    """Stands for the end of the process."""


class Killer(keras.callbacks.Callback):
    """End the training after so many batches."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


def _model(depth: int = 2) -> keras.Model:
    return build_cdbn(
        (8, 16, 1), 3, filters=(4, 6)[:depth], kernel_sizes=((3, 3), (2, 3))[:depth],
        pool_sizes=((2, 2), (1, 2))[:depth], center_hidden=True, seed=0,
    )  # fmt: skip


SETTINGS: dict[str, Any] = {
    "epochs": 2, "batch_size": 12, "persistent": True, "fast_learning_rate": 0.01, "learn_scales": False,
    "sparsity_kind": "cross_entropy", "seed": 3,
}  # fmt: skip


@pytest.fixture
def every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", -1.0)
    monkeypatch.setattr("cepscope.models.trainer.STEPS", 1)


def _train(bars: Any, folder: Path | None, killer: Killer | None = None) -> tuple[list[Array], list[dict[str, Any]]]:
    """Return weights and rows, which whoever watched this process alone was told too."""
    model = _model()
    told: list[dict[str, Any]] = []
    callbacks = [killer] if killer else []
    names = [None if folder is None else folder / f"{name}.npz" for name in ("pretraining", "fine-tuning")]
    watch: dict[str, Any] = {"callbacks": callbacks, "progress": lambda *step: told.append(step[-1])}
    rows = pretrain(model, bars.x, **SETTINGS, held_out=bars.x[:20], checkpoint=names[0], **watch)
    rows += fit_classifier(
        model, bars.x, bars.y, validation=(bars.x[:30], bars.y[:30]), epochs=2, batch_size=40, shift=2,
        frozen=["crbm1"], seed=1, checkpoint=names[1], **watch,
    )  # fmt: skip
    assert told == rows
    return model.get_weights(), rows


def _equal(one: list[Array], two: list[Array]) -> None:
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("every_batch")
def test_interrupted_anywhere_the_end_is_the_same(bars: Any, tmp_path: Path) -> None:
    """Twelve batches an epoch, two epochs a layer, two layers, then two epochs of four batches with labels."""
    weights, rows = _train(bars, None)
    runs = 0
    while runs < 5:  # killed in the second layer, then while it learns from labels
        try:
            found, found_rows = _train(bars, tmp_path, Killer(26))
            break
        except Killed:
            runs += 1
    assert runs == 2
    _equal(found, weights)
    assert found_rows == rows
    again, again_rows = _train(bars, tmp_path)  # all is done: nothing is trained any more
    _equal(again, weights)
    assert again_rows == rows


@pytest.mark.slow
@pytest.mark.usefixtures("every_batch")
def test_another_training_does_not_go_on_from_there(bars: Any, tmp_path: Path) -> None:
    model, path = _model(1), tmp_path / "state.npz"
    with pytest.raises(Killed):
        pretrain(model, bars.x, **SETTINGS, checkpoint=path, callbacks=[Killer(15)])
    other = SETTINGS | {"weight_decay": 0.01}
    expected, got = _model(1), _model(1)
    pretrain(expected, bars.x, **other)
    pretrain(got, bars.x, **other, checkpoint=path)
    _equal(got.get_weights(), expected.get_weights())
    path.write_bytes(b"not an archive")
    got = _model(1)
    pretrain(got, bars.x, **other, checkpoint=path)
    _equal(got.get_weights(), expected.get_weights())


SCRIPT = """
import sys
import numpy as np
from cepscope.models import build_cdbn, checkpoint, fit_classifier, pretrain
checkpoint.SECONDS = 0.0
x = np.random.default_rng(0).standard_normal((192, 12, 20, 1)).astype(np.float32)
y = np.arange(192) % 3
model = build_cdbn((12, 20, 1), 3, filters=(6, 6), seed=0, kernel_sizes=((3, 3), (2, 2)))
pretrain(model, x, epochs=12, batch_size=16, checkpoint=sys.argv[1] + "/a.npz")
fit_classifier(model, x, y.astype(np.int32), epochs=4, checkpoint=sys.argv[1] + "/b.npz")
np.savez(sys.argv[2], *model.get_weights())
"""


@pytest.mark.slow
def test_kill_9_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process, killed as soon as it has kept a state; another one goes on, and ends where one alone does."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(tmp_path / "out.npz")]
    kept = tmp_path / "a.npz"
    process = subprocess.Popen(command, env=environment)
    end = time.monotonic() + 120
    while not kept.exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was over before it was killed"
    assert not (tmp_path / "out.npz").exists()
    subprocess.run(command, env=environment, check=True, timeout=120)
    (tmp_path / "alone").mkdir()
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / "alone"), str(tmp_path / "alone.npz")])
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    exec(SCRIPT, {})  # the same lines, in this process
    one, two = (np.load(tmp_path / name) for name in ("out.npz", "alone.npz"))
    _equal([one[name] for name in one.files], [two[name] for name in two.files])
