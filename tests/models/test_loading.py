"""Other people's model files: what can be read gives the same numbers, what can't says why and what to do."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from cepscope.errors import CorruptArtifactError, NotFittedError
from cepscope.models import load_model
from cepscope.models.archives import read_archive
from cepscope.models.loading import in_keras_3

X = np.random.default_rng(0).standard_normal((3, 12, 8, 1)).astype(np.float32)


@keras.saving.register_keras_serializable(package="somebody")
class Own(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x


@pytest.fixture(scope="module")
def spotter() -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 8, 1)),
            layers.Conv2D(4, (3, 2), name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.DepthwiseConv2D((2, 3), name="depthwise"),
            keras.Sequential([layers.Flatten(), layers.Dense(5, activation="relu", name="inner")], name="block"),
            layers.Dense(3, name="logits"),
        ]
    )
    norm = model.get_layer("norm")
    norm.set_weights([np.linspace(a, b, 4) for a, b in ((0.5, -2), (-1, 1), (-0.5, 0.5), (0.2, 2))])
    return model


def as_keras_2(config: dict[str, Any]) -> dict[str, Any]:
    """Write a config of Keras 3 as tf-keras 2.21 was seen to write it."""
    found = json.loads(json.dumps(config))
    for layer in found["config"]["layers"]:
        layer.pop("module", None), layer.pop("registered_name", None), layer.pop("build_config", None)
        inner = layer["config"]
        for name in ("dtype", "quantization_config"):
            inner.pop(name, None)
        if layer["class_name"] == "InputLayer":
            inner["batch_input_shape"] = inner.pop("batch_shape")
        if layer["class_name"] == "DepthwiseConv2D":
            inner |= {"groups": 1, "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}}
        if layer["class_name"] == "BatchNormalization":
            inner["axis"] = [3]
            for name in ("renorm", "renorm_clipping", "renorm_momentum", "synchronized"):
                inner.pop(name, None)
        if layer["class_name"] == "Sequential":
            layer["config"] = as_keras_2({"config": inner})["config"]
    return found


def account(model: keras.Model) -> dict[str, Any]:
    return {"class_name": type(model).__name__, "config": json.loads(model.to_json())["config"]}


def test_every_form_of_file_gives_the_same_numbers(spotter: keras.Model, tmp_path: Path) -> None:
    spotter.save(tmp_path / "a.keras")
    spotter.save(tmp_path / "a.h5")
    (tmp_path / "zip.model").write_bytes((tmp_path / "a.keras").read_bytes())
    (tmp_path / "old.keras").write_bytes((tmp_path / "a.h5").read_bytes())  # as TensorFlow up to 2.11 wrote it
    expected = spotter(X).numpy()
    for name, kind in (("a.keras", "keras"), ("a.h5", "hdf5"), ("zip.model", "keras"), ("old.keras", "hdf5")):
        archive = read_archive(tmp_path / name)
        assert (archive.kind, archive.input_shapes) == (kind, ((12, 8, 1),))
        np.testing.assert_array_equal(load_model(tmp_path / name, compiled=False)(X), expected, err_msg=name)


def test_files_of_keras_2_give_the_same_numbers(spotter: keras.Model, tmp_path: Path) -> None:
    old = as_keras_2(account(spotter))
    with pytest.raises(TypeError):
        keras.Sequential.from_config(json.loads(json.dumps(old["config"])))  # as it stands Keras 3 refuses it
    spotter.save(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(old), "2.15.0"
    before = (tmp_path / "old.h5").read_bytes()
    assert read_archive(tmp_path / "old.h5").is_of_keras_2
    assert read_archive(tmp_path / "old.h5").input_shapes == ((12, 8, 1),)
    np.testing.assert_array_equal(load_model(tmp_path / "old.h5", compiled=False)(X), spotter(X))
    assert (tmp_path / "old.h5").read_bytes() == before


def field(number: int, value: bytes) -> bytes:
    """Write a length-delimited field of a protocol buffer."""
    size, varint = len(value), b""
    while size >= 128:
        varint, size = varint + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + varint + bytes([size]) + value


def saved_model(folder: Path, model: keras.Model, *, rename: str = "depthwise_kernel") -> Path:
    """Write what of a Keras 2 SavedModel describes the layers and holds the weights; its graph is no graph at all."""

    def node(layers: list[Any]) -> tf.Module:
        module = tf.Module()
        for i, layer in enumerate(one for one in layers if one.weights):
            inner = node(layer.layers) if hasattr(layer, "layers") else tf.Module()
            for variable in [] if hasattr(layer, "layers") else layer.weights:
                is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D) and variable.name == "kernel"
                setattr(inner, rename if is_depthwise else variable.name, tf.Variable(variable.numpy()))
            setattr(module, f"layer_with_weights-{i}", inner)
        return module

    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"no graph: nothing may read it")
    tf.train.Checkpoint(**vars_of(node(model.layers))).write(str(folder / "variables" / "variables"))
    root = field(3, b"root") + field(5, json.dumps(as_keras_2(account(model))).encode())
    leaf = b"\x10\x01" + field(3, b"root.layer-0") + field(5, b"{}")
    (folder / "keras_metadata.pb").write_bytes(field(1, leaf) + field(1, root))
    return folder


def vars_of(module: tf.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name.startswith("layer_with_weights")}


def test_a_saved_model_of_keras_2_is_read_without_its_graph(spotter: keras.Model, tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "saved", spotter)
    assert read_archive(folder).input_shapes == ((12, 8, 1),)
    np.testing.assert_array_equal(load_model(folder, compiled=False)(X), spotter(X))
    with pytest.raises(CorruptArtifactError, match="no single 'kernel' of depthwise is in it; load it with tf_keras"):
        load_model(saved_model(tmp_path / "other", spotter, rename="something"))
    metadata = folder / "keras_metadata.pb"
    for wrong in (metadata.read_bytes()[:-3], b"\xff" * 20, b"\x0b\x01"):
        metadata.write_bytes(wrong)
        with pytest.raises(CorruptArtifactError, match="damaged or cut off"):
            read_archive(folder)


def _lambda(path: Path) -> None:
    run = keras.layers.Lambda(lambda x: (x, Path("ran").touch())[0], name="touch")
    keras.Sequential([keras.Input((4,)), run]).save(path)
    Path("ran").unlink()


def _hidden_lambda(path: Path) -> None:
    layer = keras.layers.TimeDistributed(keras.layers.Lambda(lambda x: x, name="inside"))
    keras.Sequential([keras.Input((4, 2)), layer]).save(path)


def _own(path: Path) -> None:
    keras.Sequential([keras.Input((4,)), Own(name="mine")]).save(path)


def _torch(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", pickle.dumps({}))


def _weights(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)


def _half(path: Path) -> None:
    keras.Sequential([keras.Input((400,)), keras.layers.Dense(3)]).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _half_hdf5(path: Path) -> None:
    _weights(path)
    path.write_bytes(path.read_bytes()[:900])


def _exported(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"")


def _operation(path: Path) -> None:
    account = {
        "class_name": "Functional",
        "config": {"layers": [{"class_name": "TFOpLambda", "config": {"name": "add"}}]},
    }
    with h5py.File(path, "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(account), "2.15.0"


def _unknown_of_keras_2(path: Path) -> None:
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "name": "x"}},
        {"class_name": "MyDense", "config": {"name": "mine"}},
    ]
    with h5py.File(path, "w") as file:
        account = {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(account), "2.15.0"


REFUSED: list[tuple[Callable[[Path], Any], str, str]] = [
    (_lambda, "a.keras", "its Lambda layer 'touch' holds Python code, which is never run; put a built-in layer"),
    (_hidden_lambda, "a.keras", "its Lambda layer 'inside' holds"),
    (_own, "a.keras", r"its Own 'mine' is a class of its maker's own \(somebody>Own\)"),
    (_unknown_of_keras_2, "a.h5", "'MyDense' is not Keras' own"),
    (_operation, "a.h5", "its TFOpLambda layer 'add' is a TensorFlow call that Keras 3 can't rebuild"),
    (_weights, "a.h5", "weights only; save the whole network with model.save"),
    (_torch, "a.pt", "PyTorch file, whose pickle is never opened"),
    (_half, "a.keras", r"damaged or cut off \(File is not a zip file\)"),
    (_half_hdf5, "a.h5", "damaged or cut off"),
    (_exported, "saved", r"model.export\(\), which keeps no layers; where the network was made, call model.save"),
    (Path.mkdir, "folder", "a folder without saved_model.pb"),
    (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "a.pkl", "a Python pickle, which is never opened"),
    (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(99)), "a.tflite", "a TensorFlow Lite model"),
    (lambda path: path.write_bytes(b"\x08\x07\x12\x07"), "a.onnx", "an ONNX model"),
    (lambda path: path.write_bytes(b""), "a.keras", "it is empty"),
    (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "a.keras", "git lfs pull"),
    (lambda path: path.write_text("hello"), "a.keras", "neither a .keras archive nor HDF5"),
    (lambda path: zipfile.ZipFile(path, "w").close(), "a.zip", "a zip file without config.json"),
]


@pytest.mark.parametrize(("make", "name", "message"), REFUSED, ids=[message[:24] for *_, message in REFUSED])
def test_what_is_no_usable_model_is_told_in_one_line(
    make: Callable[[Path], Any], name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    with pytest.raises(CorruptArtifactError, match=rf"{name} can't be loaded as a Keras model: .*{message}") as caught:
        load_model(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="no model at"):
        load_model(tmp_path / "none.keras")
    with pytest.raises(CorruptArtifactError, match="there is no such file"):
        read_archive(tmp_path / "none.keras")


def test_a_setting_of_keras_2_that_says_something_stays() -> None:
    layer = {"class_name": "DepthwiseConv2D", "config": {"kernel_size": [3, 3], "groups": 2, "kernel_constraint": None}}
    assert in_keras_3(layer)["config"] == {"kernel_size": [3, 3], "groups": 2}


def test_files_are_looked_at_without_tensorflow(spotter: keras.Model, tmp_path: Path) -> None:
    spotter.save(tmp_path / "a.keras")
    code = (
        "import sys; from cepscope.models.archives import read_archive; print(read_archive(sys.argv[1]).input_shapes);"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.keras"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "((12, 8, 1),)\n"
