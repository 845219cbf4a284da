"""Networks of strangers: what a file claims costs no memory, and nothing outside it is read or run."""

from __future__ import annotations

import json
import os
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from cepscope.errors import CorruptArtifactError
from cepscope.models import build_cdbn
from cepscope.models.archives import read_archive
from cepscope.models.loading import load_model

Change = Callable[[bytes], bytes | str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    keras.utils.set_random_seed(0)
    layers = [keras.Input((20, 16, 1)), keras.layers.Conv2D(4, 3), keras.layers.Dropout(0.5), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, name="out")])
    model.compile("adam", keras.losses.MeanSquaredError())
    model.train_on_batch(np.zeros((2, 20, 16, 1)), np.zeros((2, 3)))
    model.save(folder / "a.keras")
    model.save(folder / "a.h5")
    return folder


def packed(whole: Path, path: Path, change: Change, member: str = "config.json") -> Path:
    with zipfile.ZipFile(whole / "a.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name == member else content)
    return path


def setting(layer: str, name: str, value: Any) -> Change:
    """Return a change of one setting of a layer."""

    def change(content: bytes) -> str:
        config = json.loads(content)
        next(one for one in config["config"]["layers"] if one["class_name"] == layer)["config"][name] = value
        return json.dumps(config)

    return change


FUNCTION = {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"}
HOSTILE: list[tuple[Change, str]] = [
    (setting("Dense", "units", 10**12), r"its layers need \d+ weights, but the file holds \d+"),
    (setting("Dense", "units", 3_000_000), r"its layers need \d+ weights, but the file holds \d+"),
    (setting("Conv2D", "filters", 10**9), "expected axis -1"),
    (setting("Conv2D", "kernel_size", [10**5, 10**5]), "zero or negative"),
    (setting("InputLayer", "batch_shape", [None, 10**9, 10**9, 1]), "expected axis -1"),
    (setting("Dense", "units", -5), "expected a positive integer"),
    (setting("Dense", "activation", "os.system"), "Could not interpret activation"),
    (setting("Dense", "activation", FUNCTION), "its function 'eval' is not Keras' own"),
    (lambda _: '{"class_name": "Sequential", "config": ' + "[" * 900 + "]" * 900 + "}", "damaged or cut off"),
    (lambda _: '{"class_name": "Sequential", "config": ' + '{"a":' * 10**5 + "1" + "}" * 10**5 + "}", "recursion"),
    (lambda _: '{"class_name": "Sequential", "config": {"layers": 5}}', "damaged or cut off"),
    (lambda _: '{"class_name": "Sequential"}', "its config is not that of a network"),
    (lambda _: "[]", "its config is not that of a network"),
    (lambda _: "\xff" * 9, "damaged or cut off"),
]


@pytest.mark.parametrize(("change", "says"), HOSTILE, ids=[f"{i} {says[:20]}" for i, (_, says) in enumerate(HOSTILE)])
def test_a_config_of_a_stranger(change: Change, says: str, whole: Path, tmp_path: Path) -> None:
    path = packed(whole, tmp_path / "b.keras", change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptArtifactError, match=rf"can't be loaded as a Keras model: .*{says}") as caught:
        load_model(path)
    assert len(str(caught.value).splitlines()) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_counting_leaves_nothing_behind(whole: Path, name: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 20, 16, 1)).astype(np.float32)
    outputs = [np.asarray(load_model(whole / name, compiled=compiled)(x)) for compiled in (False, True)]
    np.testing.assert_array_equal(*outputs)
    assert keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).count_params() == 3


def test_a_network_of_ones_own_layers_is_counted_too(tmp_path: Path) -> None:
    model = build_cdbn((13, 16, 1), ("a", "b"), filters=(3, 4), kernel_sizes=((3, 3), (3, 3)), seed=0)
    model.save(tmp_path / "a.keras")
    whole = tmp_path
    packed(whole, tmp_path / "b.keras", setting("ConvolutionalRBM", "filters", 10**9))
    with pytest.raises(CorruptArtifactError, match=r"its layers need \d+ weights, but the file holds"):
        load_model(tmp_path / "b.keras")
    assert load_model(tmp_path / "a.keras").count_params() == model.count_params()


def test_a_bomb_is_not_unpacked(whole: Path, tmp_path: Path) -> None:
    for name, member in (("a.keras", "config.json"), ("b.keras", "model.weights.h5")):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, bytes(100 << 20))
            if member != "config.json":
                archive.writestr("config.json", "{}")
        with pytest.raises(CorruptArtifactError, match=r"it says that it holds 10485760\d bytes, in a file of"):
            read_archive(tmp_path / name)


def _external_link(file: h5py.File) -> None:
    file["x"] = h5py.ExternalLink("/etc/hostname", "/")


def _soft_link(file: h5py.File) -> None:
    file["x"] = h5py.SoftLink("/model_weights")


def _external_data(file: h5py.File) -> None:
    file.create_dataset("x", shape=(10,), dtype="u1", external=[("/etc/hostname", 0, 10)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


def _claim(file: h5py.File) -> None:
    file.create_dataset("x", shape=(10**12,), dtype="f4")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_external_link, "its 'x' is a link"),
        (_soft_link, "its 'x' is a link"),
        (_external_data, "its 'x' lies in another file"),
        (_virtual, "its 'x' lies in another file"),
        (_claim, r"it says that it holds 4\d{12} bytes, in a file of"),
    ],
)
@pytest.mark.parametrize("kind", ["h5", "keras"])
def test_weights_lie_in_the_file_itself(
    change: Callable[[h5py.File], None], says: str, kind: str, whole: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"b.{kind}"

    def changed(content: bytes) -> bytes:
        (tmp_path / "w.h5").write_bytes(content)
        with h5py.File(tmp_path / "w.h5", "r+") as file:
            change(file)
        return (tmp_path / "w.h5").read_bytes()

    if kind == "h5":
        path.write_bytes(changed((whole / "a.h5").read_bytes()))
    else:
        packed(whole, path, changed, "model.weights.h5")
    with pytest.raises(CorruptArtifactError, match=says):
        load_model(path)


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.keras")  # whoever opened it would wait for ever
    with pytest.raises(CorruptArtifactError, match="it is a device or a pipe"):
        load_model(tmp_path / "a.keras")
