"""A run for TensorBoard: training curves, filters, patterns, sounds and scores, a TensorBoard run a layer.

Everything is read from the run's files, as far as they are there; no network is loaded.
"""

from __future__ import annotations

import csv
import html
import io
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Self

from matplotlib.figure import Figure

from cepscope.atomic import load_npz
from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError
from cepscope.features import Scaling, load_scaling
from cepscope.invert.sounds import file_name, stored_files
from cepscope.maximize.patterns import Patterns
from cepscope.report.events import FILE, Entry, EventFiles, require_tensorboard
from cepscope.report.figures import FORMATS
from cepscope.report.plots import plot_filters, plot_mfcc

HISTORY, FILTERS, SCALING = "model/history.csv", "model/filters.npz", "features/scaler.npz"
PATTERNS, SOUNDS = "patterns/patterns.npz", "audio/sounds.npz"
UNITS, SOUND_ROWS = "patterns/units.csv", "audio/sounds.csv"  # scores: the whole ones, and those of the sounds alone
NOT_MEASURED = ("stage", "layer", "epoch")  # columns of the history that hold no curve
WORDS = ("label", "sound_class")
NUMBERS = (
    "sound_over_natural",
    "retention",
    "naturalness_z",
    "mfcc_relative_error",
    "relative_error",
    "mcd_db",
    "hnr_db",
)
SCORES = (WORDS[0], *NUMBERS, WORDS[1])  # columns of a table; more would not fit into one of TensorBoard's cards

Rows = list[dict[str, str]]


def write_tensorboard(run_folder: str | Path, out: str | Path | None = None) -> Path:
    """Write a finished or partial run as event files for TensorBoard; the same files of a run give the same bytes.

    Each layer is a run of TensorBoard, and fine-tuning is another. Every number of ``model/history.csv`` is a scalar
    at its epoch, a layer's filters are one image, each pattern is an image, each sound is its own 16-bit WAV, and the
    main scores of a layer's units are a table. Times are those of the files they come from.

    Parameters
    ----------
    run_folder : path
        Of the run.
    out : path, optional
        Folder of the event files, by default ``tensorboard`` in the run. Those of an earlier call are replaced.

    Returns
    -------
    Path
        `out`, for ``tensorboard --logdir``.

    Raises
    ------
    MissingExtraError
        If TensorBoard is not installed.
    NotFittedError
        If the run has nothing to show yet.
    ParameterError
        If `out` holds something else.
    CorruptArtifactError
        If a file of the run is damaged.
    DataError
        If `out` can't be written.
    """
    folder = Path(run_folder)
    place = folder / "tensorboard" if out is None else Path(out)
    require_tensorboard()
    entries = _entries(folder)
    if (first := next(entries, None)) is None:
        raise NotFittedError(
            f"There is nothing to show in {folder}: it has no curves, filters, patterns or sounds of a run. "
            f"Start one with `cepscope run --out {folder}`."
        )
    with _replaced(place.resolve()) as fresh, EventFiles(fresh) as files:
        files.add(chain([first], entries))
    return place


class TensorBoardLog:
    """A run for TensorBoard while it goes on: curves epoch by epoch, all else when it is done.

    It ends on what `write_tensorboard` writes, but for the times and the digits of the curves, which are those of the
    epochs themselves. A context manager that closes the files.

    Parameters
    ----------
    out : path
        Folder of the event files. Those of an earlier run are removed.

    Raises
    ------
    MissingExtraError, ParameterError, DataError
        As `write_tensorboard`.
    """

    def __init__(self, out: str | Path) -> None:
        require_tensorboard()
        self.place = Path(out)
        with _replaced(self.place.resolve()):
            pass
        self.files = EventFiles(self.place)
        self.written: set[tuple[str, str, int]] = set()  # run, tag and step of the curves

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.files.__exit__()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Add an epoch, a row as `pretrain` and `fit_classifier` report it."""
        entries = list(_scalars(row, time.time()))
        self._add(entries)
        self.written |= {(entry.run, entry.tag, entry.step) for entry in entries}

    def finish(self, run_folder: str | Path, *, training_only: bool = False) -> None:
        """Add what lies in a run's folder and was not added epoch by epoch.

        Parameters
        ----------
        run_folder : path
        training_only : bool
            Leave out patterns, sounds and scores, which may be of an earlier network.
        """
        found = (_training if training_only else _entries)(Path(run_folder))
        self._add(entry for entry in found if (entry.run, entry.tag, entry.step) not in self.written)

    def _add(self, entries: Iterable[Entry]) -> None:
        try:
            self.files.add(entries)
        except OSError as error:
            raise DataError(f"can't write {self.place} ({error.strerror}); choose another place") from error


@contextmanager
def _replaced(place: Path) -> Iterator[Path]:
    """Lend an empty folder that takes the place of `place` when the body of a ``with`` succeeds."""
    if place.is_dir():
        if others := sorted(path for path in place.rglob("*") if not path.is_dir() and path.name != FILE):
            raise ParameterError(
                f"{place} holds {others[0].relative_to(place)}, which is no event file of cepscope. "
                "Choose a new or an empty folder."
            )
    elif place.exists():
        raise ParameterError(f"Event files need a folder. Received: {place}, a file")
    fresh, old = (place.with_name(f".{word}-{secrets.token_hex(6)}") for word in ("part", "old"))
    try:
        fresh.mkdir(parents=True)
        yield fresh
        if place.exists():
            place.rename(old)
        try:
            fresh.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
    except OSError as error:
        raise DataError(f"can't write {place} ({error.strerror}); choose another place") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _training(folder: Path) -> Iterator[Entry]:
    yield from _curves(folder / HISTORY)
    if (folder / FILTERS).is_file():
        yield from _filters(folder / FILTERS, load_scaling(folder / SCALING))


def _entries(folder: Path) -> Iterator[Entry]:
    layers: Mapping[str, str] = {}
    yield from _training(folder)
    scores = folder / (UNITS if (folder / UNITS).is_file() else SOUND_ROWS)
    rows = _read(scores)
    titles = {_name(row): f"{_name(row)} {row.get('label', '')}".strip() for row in rows}
    if (folder / PATTERNS).is_file():
        found = Patterns.load(folder / PATTERNS)
        layers = dict(zip(found.names, found.layers, strict=True))
        yield from _patterns(found, load_scaling(folder / SCALING), titles, _time(folder / PATTERNS))
    if (folder / SOUNDS).is_file():
        yield from _sounds(folder, layers, titles)
    if rows:
        yield from _tables(rows, layers, _time(scores))


def _curves(path: Path) -> Iterator[Entry]:
    for row in _read(path):
        try:
            yield from list(_scalars(row, _time(path)))
        except (KeyError, ValueError) as error:
            raise CorruptArtifactError(f"{path} can't be read as training curves ({error}); train again") from error


def _scalars(row: Mapping[str, Any], when: float) -> Iterator[Entry]:
    """Return the numbers of an epoch, whether read or fresh."""
    stage = row.get("stage") or "training"
    for name, value in row.items():
        if name not in NOT_MEASURED and value not in ("", None):
            number, step = float(value), int(row["epoch"])
            yield Entry(_run(row.get("layer") or stage), f"{stage}/{name}", "scalar", number, when, step)


def _filters(path: Path, scaling: Scaling) -> Iterator[Entry]:
    size = scaling.decoder.shape[1]
    for layer, kernels in load_npz(path).items():
        whole = kernels.shape[1] == size  # over principal components it shows nothing by itself
        shown = scaling.in_deviations(kernels) if whole else kernels
        picture = _png(plot_filters(shown, title=f"Filters of {layer}"))
        yield Entry(_run(layer), "filters", "image", picture, _time(path))


def _patterns(found: Patterns, scaling: Scaling, titles: Mapping[str, str], when: float) -> Iterator[Entry]:
    shown = scaling.in_deviations(found.x[..., 0])
    for name, layer, pattern in zip(found.names, found.layers, shown, strict=True):
        title = titles.get(name, name)
        picture = _png(plot_mfcc(pattern, found.spec, title=title))
        yield Entry(_run(layer), f"patterns/{name}", "image", picture, when, title=title)


def _sounds(folder: Path, layers: Mapping[str, str], titles: Mapping[str, str]) -> Iterator[Entry]:
    files = stored_files(folder / "audio")
    names = [_name(row) for row in _read(folder / SOUND_ROWS)]
    if len(files) != len(names):
        raise CorruptArtifactError(
            f"{folder / SOUND_ROWS} must have a row for each of {len(files)} sounds. Received: {len(names)}. "
            f"Run `cepscope invert {folder}` again."
        )
    for name, path in zip(names, files, strict=True):
        try:
            wav = path.read_bytes()
        except OSError as error:
            raise CorruptArtifactError(f"{path} is missing. Run `cepscope invert {folder}` again.") from error
        run = _run(layers.get(name, name.rpartition(":")[0]))
        yield Entry(run, f"sounds/{name}", "audio", wav, _time(path), title=titles.get(name, name))


def _tables(rows: Rows, layers: Mapping[str, str], when: float) -> Iterator[Entry]:
    of_layer: dict[str, Rows] = {}
    for row in rows:
        of_layer.setdefault(row.get("layer") or layers.get(_name(row), _name(row).rpartition(":")[0]), []).append(row)
    for layer, own in of_layer.items():
        columns = [name for name in SCORES if any(row.get(name) for row in own)]
        head = [["unit", *(name.replace("_", " ") for name in columns)], ["---"] * (len(columns) + 1)]
        cells = [[_word(_name(row)), *(_cell(name, row[name]) for name in columns)] for row in own]
        text = "\n".join(f"| {' | '.join(line)} |" for line in [*head, *cells])
        yield Entry(_run(layer), "scores", "text", text, when)


def _cell(name: str, text: str) -> str:
    if name in NUMBERS:
        with suppress(ValueError):
            return f"{float(text):.3g}"
    return _word(text)


def _word(text: str) -> str:
    """Return text that Markdown and HTML leave as it is."""
    return "".join(f"\\{c}" if c in "\\|*_`[]" else c for c in html.escape(text, quote=False))


def _read(path: Path) -> Rows:
    """Read a table's rows as text; none if it is not there."""
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, restval="")
            return [{name: text for name, text in row.items() if name is not None} for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorruptArtifactError(f"{path} can't be read as a table ({error}); run its stage again") from error


def _name(row: Mapping[str, str]) -> str:
    return next(iter(row.values()), "")


def _run(layer: str) -> str:
    return file_name(layer).strip(".") or "units"


def _time(path: Path) -> float:
    return path.stat().st_mtime


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata=FORMATS[".png"])
    return out.getvalue()
