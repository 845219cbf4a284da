"""Event files of TensorBoard: entries to bytes, without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from cepscope.errors import MissingExtraError

FILE = "events.out.tfevents.cepscope"  # TensorBoard looks for `tfevents`; a time or a process id would change each time
VERSION = "brain.Event:2"  # of the format
PNG_SIZE = slice(16, 24)  # width and height in a PNG's header


@dataclass(frozen=True)
class Entry:
    """One thing to show.

    Attributes
    ----------
    run : str
        Folder that it goes to: what TensorBoard calls a run, and can switch off.
    tag : str
        Its name; what is before ``/`` is a section.
    kind : str
    content : float, bytes or str
        A number, the bytes of a PNG or WAV, or Markdown.
    when : float
        Seconds since 1970.
    step : int
    title : str
        Shown instead of the tag.
    """

    run: str
    tag: str
    kind: Literal["scalar", "image", "audio", "text"]
    content: Any
    when: float
    step: int = 0
    title: str = ""


def require_tensorboard() -> None:
    """Raise MissingExtraError if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise MissingExtraError("TensorBoard is not installed; pip install 'cepscope[tensorboard]'")


class EventFiles:
    """An event file for each run that is named; a context manager that closes them.

    Parameters
    ----------
    folder : Path
        Must be empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened = ExitStack()
        self.writers: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.opened.close()

    def add(self, entries: Iterable[Entry]) -> None:
        """Write entries as they come, so that few are in memory; a reader sees them at once."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        for entry in entries:
            if entry.run not in self.writers:
                (self.folder / entry.run).mkdir()
                file = self.opened.enter_context((self.folder / entry.run / FILE).open("xb"))
                self.writers[entry.run] = RecordWriter(file)
                header = Event(file_version=VERSION, wall_time=entry.when)
                self.writers[entry.run].write(header.SerializeToString(deterministic=True))
            event = Event(wall_time=entry.when, step=entry.step, summary=_summary(entry))
            self.writers[entry.run].write(event.SerializeToString(deterministic=True))
        for writer in self.writers.values():
            writer.flush()


def _summary(entry: Entry) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    metadata, tensor = {"scalar": _scalar, "image": _image, "audio": _audio, "text": _text}[entry.kind](entry)
    return Summary(value=[Summary.Value(tag=entry.tag, metadata=metadata, tensor=tensor)])


def _tensor(*shape: int, **values: Any) -> Any:
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_STRING

    size = TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in shape])
    return TensorProto(dtype=DT_FLOAT if "float_val" in values else DT_STRING, tensor_shape=size, **values)


def _scalar(entry: Entry) -> tuple[Any, Any]:
    from tensorboard.plugins.scalar.metadata import create_summary_metadata

    return create_summary_metadata(entry.title, ""), _tensor(float_val=[entry.content])


def _image(entry: Entry) -> tuple[Any, Any]:
    from tensorboard.plugins.image.metadata import create_summary_metadata

    png = entry.content
    size = (str(n).encode() for n in struct.unpack(">II", png[PNG_SIZE]))
    return create_summary_metadata(entry.title, ""), _tensor(3, string_val=[*size, png])


def _audio(entry: Entry) -> tuple[Any, Any]:
    from tensorboard.plugins.audio.metadata import Encoding, create_summary_metadata

    metadata = create_summary_metadata(entry.title, "", encoding=Encoding.Value("WAV"))
    return metadata, _tensor(1, 2, string_val=[entry.content, b""])  # a sound and its label


def _text(entry: Entry) -> tuple[Any, Any]:
    from tensorboard.plugins.text.metadata import create_summary_metadata

    return create_summary_metadata(entry.title, ""), _tensor(string_val=[entry.content.encode()])
