"""Model files as they lie on disk: what they are and what they say of themselves, before anything of them is run.

Nothing here loads TensorFlow or Keras, rebuilds an object or opens a pickle. A network's own account of itself is JSON
in all three forms that Keras has had: the ``.keras`` archive, HDF5, and the metadata beside a SavedModel.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cepscope.errors import CorruptArtifactError
from cepscope.models.sizes import read_member, require_plausible

Kind = Literal["keras", "hdf5", "savedmodel"]
Shape = tuple[int | None, ...]

# what Python's zipfile, HDF5 and Keras raise over damaged archives
DAMAGE = (
    # NotImplementedError and RecursionError are RuntimeErrors
    *(ValueError, OSError, KeyError, IndexError, AttributeError, TypeError, EOFError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
OWN = "cepscope>"  # what layers of this package are registered under
EXPORT = "model.export(), which keeps no layers; where the network was made, call model.save('model.keras') instead"
# first bytes of files that are often taken for a Keras model: what they are, and the way from there
OTHERS = (
    (b"version https://git-lfs", "it is a Git LFS pointer; fetch the file with `git lfs pull`"),
    (b"\x80", "it is a Python pickle, which is never opened; save the network with model.save('model.keras')"),
    (b"", "it is neither a .keras archive nor HDF5; save the network with model.save('model.keras')"),
)
TFLITE = b"TFL3"  # from the fifth byte on
# layers that only run by code of the file, or by what Keras 3 no longer has
PROGRAMS = {
    "Lambda": "holds Python code, which is never run; put a built-in layer (Rescaling, Permute, ...) in its place",
    "TFOpLambda": "is a TensorFlow call that Keras 3 can't rebuild; put a layer (Add, Multiply, ...) in its place",
    "SlicingOpLambda": "is a TensorFlow call that Keras 3 can't rebuild; put a layer (Cropping1D, ...) in its place",
    "TFSMLayer": "runs the graph of another file unseen; save the network it wraps with model.save('model.keras')",
}
PACKAGES = ("keras", "tf_keras", "tensorflow")  # in which Keras' own classes live


@dataclass(frozen=True)
class Archive:
    """A network's file.

    Attributes
    ----------
    path : Path
    kind : {"keras", "hdf5", "savedmodel"}
        By content, whatever the file is called.
    config : dict
        The network's own account: ``class_name``, ``config``.
    version : str
        Of Keras that wrote it; empty if it does not say.
    """

    path: Path
    kind: Kind
    config: dict[str, Any]
    version: str

    @property
    def is_of_keras_2(self) -> bool:
        """Tell whether Keras 2, or tf-keras, wrote it."""
        return self.kind == "savedmodel" or not self.version.startswith("3")

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """Return what the network takes, without the batch axis; empty if it does not say."""
        return tuple(_input_shapes(self.config))


def refused(path: Path, why: str) -> CorruptArtifactError:
    """Return the error of a file that is no model that can be used."""
    return CorruptArtifactError(f"{path} can't be loaded as a Keras model: {why}")


def read_archive(path: str | Path) -> Archive:
    """Read what a model file says of itself.

    Parameters
    ----------
    path
        A ``.keras`` or HDF5 file of Keras 3 or 2, or a SavedModel folder of Keras 2.

    Returns
    -------
    Archive

    Raises
    ------
    CorruptArtifactError
        There is no such file, it is damaged, it is something else, or it holds layers that are programs: Lambda and
        classes that are not Keras' own. The message says what to do.
    """
    path = Path(path)
    if not path.exists():
        raise refused(path, "there is no such file")
    if not (path.is_file() or path.is_dir()):
        raise refused(path, "it is a device or a pipe; name a .keras or .h5 file")
    try:
        kind, config, version = _read_folder(path) if path.is_dir() else _read_file(path)
        if not _is_network(config):
            raise refused(path, "its config is not that of a network")
        _refuse_programs(path, config)
        archive = Archive(path, kind, config, version)
        _ = archive.input_shapes
    except CorruptArtifactError:
        raise
    except DAMAGE as error:
        raise refused(path, f"it is damaged or cut off ({first_line(error)})") from error
    return archive


def _is_network(config: Any) -> bool:
    return isinstance(config, dict) and isinstance(config.get("class_name"), str) and "config" in config


def first_line(error: BaseException | str) -> str:
    """Return the first line of an error's message, or its class."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialised object of a config, from outside to inside; not what a model was compiled with."""
    if isinstance(config, list | tuple):
        for item in config:
            yield from objects(item)
    elif isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and not config["class_name"].startswith("__"):
            yield config
        for key, value in config.items():
            if key != "compile_config":
                yield from objects(value)


def _read_file(path: Path) -> tuple[Kind, Any, str]:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"PK"):
        return _read_zip(path)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _read_hdf5(path)
    if not head:
        raise refused(path, "it is empty")
    if head[4:8] == TFLITE or path.suffix == ".onnx":
        name = "a TensorFlow Lite" if head[4:8] == TFLITE else "an ONNX"
        raise refused(path, f"it is {name} model; take the Keras model that it was made of")
    raise refused(path, next(why for start, why in OTHERS if head.startswith(start)))


def _read_zip(path: Path) -> tuple[Kind, Any, str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("data.pkl") for name in names):
            raise refused(path, "it is a PyTorch file, whose pickle is never opened; build the network in Keras")
        if "config.json" not in names:
            raise refused(path, "it is a zip file without config.json; a .keras archive has one")
        require_plausible(sum(member.file_size for member in archive.infolist()), path)
        about = json.loads(read_member(archive, "metadata.json")) if "metadata.json" in names else {}
        return "keras", json.loads(read_member(archive, "config.json")), str(about.get("keras_version", ""))


def _read_hdf5(path: Path) -> tuple[Kind, Any, str]:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path) as file:
        config, version = (file.attrs.get(name) for name in ("model_config", "keras_version"))
        if config is None:
            raise refused(path, "it holds weights only; save the whole network with model.save('model.keras')")
        text, number = (item.decode() if isinstance(item, bytes) else item or "" for item in (config, version))
        return "hdf5", json.loads(text), str(number)


def _read_folder(path: Path) -> tuple[Kind, Any, str]:
    if not (path / "saved_model.pb").is_file():
        raise refused(path, "it is a folder without saved_model.pb; name a .keras or .h5 file, or a SavedModel folder")
    if not (path / "keras_metadata.pb").is_file():
        raise refused(path, f"it is a SavedModel of {EXPORT}")
    for node in _fields((path / "keras_metadata.pb").read_bytes(), 1):  # SavedMetadata.nodes
        if list(_fields(node, 3)) == [b"root"]:  # SavedObject.node_path
            found = json.loads(next(_fields(node, 5)))  # SavedObject.metadata
            if found.get("class_name") not in ("Functional", "Sequential", "Model") or "layers" not in found["config"]:
                raise refused(path, f"its class {found.get('class_name')!r} is Python code, which a SavedModel lacks")
            return "savedmodel", {name: found[name] for name in ("class_name", "config")}, "2"
    raise ValueError("keras_metadata.pb names no root")


def _fields(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the length-delimited fields of a protocol buffer that have a number."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    try:
        while at < len(message):
            key = varint()
            size = varint()
            if key & 7 == 2:
                if at + size > len(message):
                    raise ValueError("keras_metadata.pb ends too early")
                if key >> 3 == number:
                    yield message[at : at + size]
                at += size
            elif key & 7:
                raise ValueError("keras_metadata.pb has a field of an unknown type")
    except IndexError:
        raise ValueError("keras_metadata.pb ends too early") from None


def _refuse_programs(path: Path, config: dict[str, Any]) -> None:
    """Raise where some object is code, or a class that only its maker's code knows."""
    for one in objects(config):
        kind, inner = one["class_name"], one.get("config")
        name = inner.get("name", kind) if isinstance(inner, dict) else inner
        if kind in PROGRAMS:
            raise refused(path, f"its {kind} layer {name!r} {PROGRAMS[kind]}, and save again")
        registered = str(one.get("registered_name") or kind)
        module = str(one.get("module") or "keras")
        if kind == "function":
            raise refused(path, f"its function {name!r} is not Keras' own; name one of Keras' functions and save again")
        if not registered.startswith(OWN) and (">" in registered or module.partition(".")[0] not in PACKAGES):
            raise refused(
                path,
                f"its {kind} {name!r} is a class of its maker's own ({registered}), whose code is not in the file; "
                "build the network of Keras' own layers and save again",
            )


def _input_shapes(config: dict[str, Any]) -> Iterator[Shape]:
    inner = config["config"]
    layers = inner.get("layers", []) if isinstance(inner, dict) else []
    if config["class_name"] == "Sequential":
        first = layers[0] if layers else {"config": {}}
        found = _batch_shape(first["config"]) or _plain(
            (config.get("build_config") or {}).get("input_shape") or inner.get("build_input_shape")
        )
        if found:
            yield tuple(found[1:])
        elif "layers" in first["config"]:
            yield from _input_shapes(first)
        return
    for layer in layers:
        if layer["class_name"] == "InputLayer":
            yield tuple(_batch_shape(layer["config"])[1:])


def _batch_shape(config: dict[str, Any]) -> list[int | None]:
    return _plain(config.get("batch_shape") or config.get("batch_input_shape"))


def _plain(shape: Any) -> list[int | None]:
    """Return a shape that may be written as a tuple's config."""
    found = shape.get("items") if isinstance(shape, dict) else shape
    return list(found or ())
