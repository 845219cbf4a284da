"""Training shared by devices does what one device does: CPUs in one process here, workers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SMALL = (
    "features.sr=8000", "features.frames=32", "model.filters=[3, 4]", "train.pretrain_epochs=2", "train.epochs=3",
    "train.snapshots=true", "train.batch_size=10",
)  # fmt: skip

MIRRORED = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from cepscope.errors import ParameterError
from cepscope.models import build_cdbn, fit_classifier, load_model, pretrain, save_model, scope_of, training_strategy
from cepscope.models import batches, trainer

rng = np.random.default_rng(0)
x = rng.normal(0, 0.3, (90, 8, 16, 1)).astype(np.float32)
y = rng.integers(0, 3, 90).astype(np.int32)
for patch, kind in zip(x[..., 0], y):
    patch[:, 4 * kind : 4 * kind + 4] += 1
path, case = sys.argv[1:]
if case == "streamed":
    batches.WINDOW = 40
    np.save(path + ".npy", x)
    x = np.load(path + ".npy", mmap_mode="r")
strategy = training_strategy()
assert strategy.num_replicas_in_sync == 2


def build(strategy, **settings):
    with scope_of(strategy):
        two = {"filters": (4, 6), "kernel_sizes": ((3, 3), (2, 3)), "pool_sizes": ((2, 2), (1, 2))}
        return build_cdbn((8, 16, 1), 3, **{**two, **settings})


def train(strategy, network, epochs=2, **settings):
    model = build(strategy, **network)
    rows = pretrain(model, x, held_out=x[:30], epochs=epochs, batch_size=30, seed=1, **settings)
    first = [w.numpy() for w in model.weights]
    # neither 90 patches in batches of 31 nor 13 watched ones are shared equally
    rows += fit_classifier(model, x, y, validation=(x[:13], y[:13]), epochs=epochs, batch_size=31, seed=1)
    return model, rows, first, [w.numpy() for w in model.weights]


sparse = {"sparsity_kind": "cross_entropy", "persistent": True, "fast_learning_rate": 0.01}
one = {"filters": (4,), "kernel_sizes": ((3, 3),), "pool_sizes": ((2, 2),)}
# in how many parts, each with draws of its own, a batch is worked on: one, one a device, or cut across by devices
parts, network, settings = {
    "one layer": (1, one, {"epochs": 1}),
    "every option": (1, {"center_hidden": True}, {"learn_scales": True, "patience": 5, **sparse}),
    "streamed": (2, {}, {}),
    "rectified": (3, {"hidden": "relu"}, {"k": 2}),
    "momentum": (2, {"dropout": 0.0}, {"momentum": (0.5, 0.9, 1), "learning_rate": 0.1}),
}[case]
trainer._parts = lambda n, units: parts
alone, shared = train(None, network, **settings), train(strategy, network, **settings)
for one, two in zip(alone[1], shared[1]):
    assert one.keys() == two.keys()
    for name in one:
        assert one[name] == two[name] or np.isclose(one[name], two[name], rtol=2e-3, atol=1e-5), (name, one, two)
for stage, bound in ((2, 5e-6), (3, 1e-3)):  # Adam divides by sizes of gradients, so rounding grows in its steps
    for one, two in zip(alone[stage], shared[stage]):
        assert np.abs(one - two).max() < bound, (stage, np.abs(one - two).max())
save_model(shared[0], path)
loaded = load_model(path)
assert all((a.numpy() == b).all() for a, b in zip(loaded.weights, shared[3]))
try:
    pretrain(build(strategy), x, batch_size=31)
except ParameterError as error:
    assert "equal parts for all 2 devices" in str(error)
else:
    raise AssertionError
print("the same")
"""
QUIET = "ignore:__array__ implementation doesn't accept:DeprecationWarning"  # NumPy's, when Keras saves a model


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one layer", "every option", "streamed", "rectified", "momentum"])
def test_two_devices_do_what_one_does(tmp_path: Path, case: str) -> None:
    command = [sys.executable, "-W", "error", "-W", QUIET, "-c", MIRRORED, str(tmp_path / "m.keras"), case]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "the same\n"


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _start(words: list[str], count: int = 2) -> list[subprocess.Popen[str]]:
    """Start the same command on so many workers of this machine."""
    workers = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    started = []
    for index in range(count):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_NUM_INTRAOP_THREADS": "1"}
        if count > 1:
            environment["TF_CONFIG"] = json.dumps(task)
        command = [sys.executable, "-m", "cepscope", *words]
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    return started


def _end(started: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    ends = [process.communicate(timeout=200) for process in started]
    return [(process.returncode, *end) for process, end in zip(started, ends, strict=True)]


def _bytes(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted((run / "model").rglob("*.*"))}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_train_a_run_and_go_on_after_one_was_killed(words: Path, tmp_path: Path, cepscope: Any) -> None:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    runs = {name: tmp_path / name for name in ("one", "two", "killed")}
    for run in runs.values():
        assert cepscope("extract", words, "--out", run, *settings) == 0, cepscope.err
    one = _end(_start(["train", str(runs["one"])], count=1))
    assert one[0][0] == 0, one
    chief, other = _end(_start(["train", str(runs["two"])]))
    assert (chief[0], other[0]) == (0, 0), (chief, other)
    assert chief[1].strip().endswith("model.keras")
    assert other[1] == ""
    assert other[2].splitlines()[-1].startswith("Worker 1 of 2: done.")

    from cepscope.models import load_model

    models = [load_model(runs[name] / "model" / "model.keras") for name in ("one", "two")]
    for a, b in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-3)
    history = [[float(cell or 0) for line in (runs[name] / "model" / "history.csv").read_text().splitlines()[1:]
                for cell in line.split(",") if cell.replace(".", "").isdigit()] for name in ("one", "two")]  # fmt: skip
    np.testing.assert_allclose(history[0], history[1], rtol=1e-2)

    both = _start(["train", str(runs["killed"])])
    kept = runs["killed"] / "model" / "checkpoints" / "fine-tuning.npz"
    kept = kept.with_name("fine-tuning-with-snapshots.npz")
    until = time.monotonic() + 120
    while not kept.exists() and time.monotonic() < until:
        time.sleep(0.02)
    both[1].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    chief, other = _end(both)
    assert other[0] == -signal.SIGKILL, "it was over before it was killed"
    assert time.monotonic() - killed < 60
    assert chief[0] == 1
    last = chief[2].splitlines()[-1]
    assert last.startswith("cepscope: error: Worker 1 of 2 was lost. Start all workers again with the same command")
    assert "Traceback" not in chief[2]
    again = _end(_start(["train", str(runs["killed"])]))
    assert [end[0] for end in again] == [0, 0], again
    assert _bytes(runs["killed"]) == _bytes(runs["two"])

    skipped = _end(_start(["train", str(runs["two"])]))
    assert [end[0] for end in skipped] == [0, 0], skipped
    assert "there is nothing to train" in skipped[1][2]


@pytest.mark.slow
def test_workers_with_other_settings_are_told(words: Path, tmp_path: Path, cepscope: Any) -> None:
    run = tmp_path / "run"
    settings = [word for setting in SMALL for word in ("--set", setting)]
    assert cepscope("extract", words, "--out", run, *settings) == 0, cepscope.err
    ports = _free_ports(2)
    ends = []
    for index, rate in enumerate(("0.001", "0.002")):
        task = {"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]}}
        task |= {"task": {"type": "worker", "index": index}}
        command = [sys.executable, "-m", "cepscope", "train", str(run), "--set", f"train.pretrain_learning_rate={rate}"]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CONFIG": json.dumps(task)}
        ends.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for process in ends:
        error = process.communicate(timeout=100)[1]
        assert process.returncode == 2, error
        assert "All workers must have the same patches, network and settings" in error.splitlines()[-1]
