"""Networks to files."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from cepscope.atomic import atomic_path
from cepscope.models.parallel import on_one_device

METADATA, CONFIG = "metadata.json", "config.json"
SHARED = re.compile(r'("shared_object_id": )(\d+)')


def save_model(model: Any, path: str | Path) -> None:
    """Save a network as a ``.keras`` archive, whole or not at all; the same network gives the same bytes.

    Keras itself writes down when it did so, and where in memory objects were that several layers share.

    Parameters
    ----------
    model : keras.Model
    path : path

    Raises
    ------
    DataError
        If `path` can't be written.
    """
    model = on_one_device(model)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)  # Keras can't load one that was never used
    with atomic_path(path) as temporary:
        model.save(temporary)
        _forget_when_and_where(temporary)


def _forget_when_and_where(path: Path) -> None:
    """Take dates out of an archive, of its members and in its metadata, and number shared objects as they come."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(members[METADATA])
    metadata.pop("date_saved", None)
    members[METADATA] = json.dumps(metadata).encode()
    numbers: dict[str, int] = {}
    members[CONFIG] = SHARED.sub(
        lambda found: f"{found[1]}{numbers.setdefault(found[2], len(numbers))}", members[CONFIG].decode()
    ).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # dated 1980, where zip's time begins
