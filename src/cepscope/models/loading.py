"""Networks from files: cepscope's own, and anybody's that Keras 3 or 2 wrote."""

from __future__ import annotations

import inspect
import json
import math
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras.src.backend.common import global_state

from cepscope.errors import NotFittedError
from cepscope.models.archives import DAMAGE, Archive, first_line, objects, read_archive, refused
from cepscope.models.backend import keras, tf
from cepscope.models.crbm import ConvolutionalRBM
from cepscope.models.sizes import require_weights, weights_held

SUFFIXES = {"keras": ".keras", "hdf5": ".h5"}
UNKNOWN = re.compile(r"(?:Could not locate (?:class|function)|Unknown (?:layer|object):?) '([^']+)'")
INNERMOST = "Exception encountered: "  # before what went wrong, after the whole config of the layer
IDLE = ("_initializer", "_regularizer", "_constraint")  # settings that only training reads
OWN_LAYERS = {"cepscope>ConvolutionalRBM": ConvolutionalRBM}  # whoever loads a network need not import them
EMPTY = {"groups": 1}  # settings that, like None and False, say nothing


def load_model(path: str | Path, *, compiled: bool = True) -> Any:
    """Load a network in safe mode: no code of the file's own is run, no pickle opened.

    Parameters
    ----------
    path
        A ``.keras`` or HDF5 file of Keras 3 or 2 (tf-keras), or a SavedModel folder of Keras 2, of which weights and
        layers are read and the graph is not.
    compiled
        Restore what it was compiled with, too; a network of others may need code for that which is not here.

    Returns
    -------
    keras.Model

    Raises
    ------
    NotFittedError
        If there is no such file.
    CorruptArtifactError
        If it is damaged, no network, or needs code: Lambda layers, classes of its maker's own.
    """
    path = Path(path)
    if not path.exists():
        raise NotFittedError(f"There is no model at {path}. Run `cepscope train` first.")
    archive = read_archive(path)
    try:
        if archive.kind == "savedmodel":
            return _load_saved_model(archive)
        require_weights(_weights_needed(archive), weights_held(archive.path, archive.kind))
        with _readable(archive) as file:
            return keras.models.load_model(file, custom_objects=OWN_LAYERS, compile=compiled, safe_mode=True)
    except (*DAMAGE, tf.errors.OpError) as error:
        if unknown := UNKNOWN.search(str(error)):
            why = f"{unknown[1]!r} is not Keras' own, and its code is not in the file; build it of Keras' own layers"
            raise refused(path, why) from error
        raise refused(path, first_line(str(error).rpartition(INNERMOST)[2] or error)) from error


def _weights_needed(archive: Archive) -> int:
    """Return how many weights a network's layers have: built without memory for any of them."""
    kind = keras.Sequential if archive.config["class_name"] == "Sequential" else keras.Model
    with keras.StatelessScope():  # in which Keras puts off the making of variables to the scope's end
        try:
            if archive.kind == "keras" and not archive.is_of_keras_2:
                config = {key: value for key, value in archive.config.items() if key != "compile_config"}
                model = keras.saving.deserialize_keras_object(config, custom_objects=OWN_LAYERS, safe_mode=True)
            else:  # HDF5 holds the older form of a config, whoever wrote it
                config = in_keras_3(archive.config) if archive.is_of_keras_2 else archive.config
                model = kind.from_config(config["config"], custom_objects=OWN_LAYERS)
            return sum(math.prod(weight.shape) for weight in model.weights)
        finally:
            global_state.get_global_attribute("uninitialized_variables", []).clear()  # they shall never be made


@contextmanager
def _readable(archive: Archive) -> Iterator[Path]:
    """Lend a path from which Keras 3 loads: its suffix must be right, and so must settings that Keras 2 wrote."""
    suffix = SUFFIXES[archive.kind]
    if archive.path.suffix == suffix and not archive.is_of_keras_2:
        yield archive.path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, f"model{suffix}")
        config = json.dumps(in_keras_3(archive.config) if archive.is_of_keras_2 else archive.config)
        if archive.kind == "keras":
            with zipfile.ZipFile(archive.path) as old, zipfile.ZipFile(copy, "w") as new:
                for name in old.namelist():
                    new.writestr(name, config if name == "config.json" else old.read(name))
        else:
            import h5py  # type: ignore[import-untyped]

            shutil.copyfile(archive.path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = config
        yield copy


def in_keras_3(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config of Keras 2 without the settings of its layers that Keras 3 does not know and that say nothing.

    ``groups=1`` of a depthwise convolution, say, and the initializer of a kernel that it does not have; the axis of a
    normalisation stands in a list.
    """
    found: dict[str, Any] = json.loads(json.dumps(config), object_hook=_list)
    for one in objects(found):
        kind, inner = getattr(keras.layers, one["class_name"], None), one.get("config")
        if kind is None or not isinstance(inner, dict):
            continue
        known = {name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters}
        for name in set(inner) - known - {"batch_input_shape"}:
            if name.endswith(IDLE) or inner[name] is None or inner[name] is False or EMPTY.get(name) == inner[name]:
                del inner[name]
        if kind is keras.layers.BatchNormalization and isinstance(inner["axis"], list):
            (inner["axis"],) = inner["axis"]
    return found


def _list(value: dict[str, Any]) -> Any:
    """Return the list that a tuple's config stands for; anything else as it is."""
    return value["items"] if value.get("class_name") in ("__tuple__", "TensorShape") else value


def _load_saved_model(archive: Archive) -> Any:
    """Build a network from the metadata of a SavedModel and give it the weights; its graph is not loaded."""
    weights = tf.train.load_checkpoint(str(archive.path / "variables" / "variables"))
    shapes = weights.get_variable_to_shape_map().values()
    require_weights(_weights_needed(archive), sum(math.prod(shape) for shape in shapes))
    kind = keras.Sequential if archive.config["class_name"] == "Sequential" else keras.Model
    model = kind.from_config(in_keras_3(archive.config)["config"])
    _restore(model, weights, "", archive)
    return model


def _restore(model: Any, weights: Any, place: str, archive: Archive) -> None:
    """Give each layer the arrays that a checkpoint lists under its number among the layers that have any."""
    names = list(weights.get_variable_to_shape_map())
    weighted = [layer for layer in model.layers if layer.weights]
    for number, layer in enumerate(weighted):
        here = f"{place}layer_with_weights-{number}/"
        if hasattr(layer, "layers"):
            _restore(layer, weights, here, archive)
            continue
        for variable in layer.weights:
            kinds = (variable.name, f"depthwise_{variable.name}")  # what Keras 3 calls the kernel of either
            fits = [name for name in names if name.startswith(here) and name.split("/")[-3] in kinds]
            if len(fits) != 1:
                why = (
                    f"no single {variable.name!r} of {layer.name} is in it; load it with tf_keras and save('model.h5')"
                )
                raise refused(archive.path, why)
            variable.assign(weights.get_tensor(fits[0]))
