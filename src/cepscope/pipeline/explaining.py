"""A person's own recordings against a run: its network, its front end, and what its held-out clips reach."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cepscope.audio import read_audio
from cepscope.corpora.layouts.rows import AUDIO_SUFFIXES
from cepscope.corpora.manifest import Manifest, read_manifest
from cepscope.corpora.patches import open_split
from cepscope.corpora.recordings import Recording, as_recording, read_recording
from cepscope.errors import CepscopeWarning, DataError, NotFittedError, ParameterError
from cepscope.invert.sounds import stored_files
from cepscope.pipeline.foreign import read_source
from cepscope.pipeline.run import stored_config
from cepscope.probe.explain import Explainer, FrontEnd
from cepscope.probe.explanation import Explanation

if TYPE_CHECKING:
    from cepscope.report.explanation import Side

FloatArray = npt.NDArray[np.float32]
Source = str | os.PathLike[str] | npt.ArrayLike
Progress = Callable[[int, int], None]

FILES = ("activations.npz", "moments.txt", "classes.txt", "index.html")
_AT_ONCE = 256  # patches
HELD_OUT = 2000  # clips at most that say how strong an activation is: of more, so many at equal distances


@dataclass(frozen=True, eq=False, repr=False)
class RunExplanation(Explanation):
    """An explanation by a run's network, which can show its units beside the recording.

    Attributes
    ----------
    run : Path or None
        The run's folder.
    """

    run: Path | None = None

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write activations.npz, moments.txt and classes.txt (label tracks for Audacity) and index.html, the page.

        Returns
        -------
        Path
            Of the page.
        """
        from cepscope.report.explanation import shown_units, write_explanation

        into = Path(folder)
        self.save_npz(into / FILES[0])
        self.save_labels(into / FILES[1])
        self.save_class_labels(into / FILES[2])
        page, network = None, ""
        sides: Mapping[str, Side] = {}
        if self.run is not None:
            sides = unit_sides(self.run, shown_units(self))
            network = Path(self.run).resolve().name
            page = Path(self.run, "report", "index.html").resolve()
        return write_explanation(
            into / FILES[3],
            self,
            sides,
            network=network,
            run_page=os.path.relpath(page, into.resolve()) if page is not None and page.is_file() else "",
        )

    def _repr_html_(self) -> str:
        from cepscope.report.explanation_plots import notebook

        return notebook(self)


class RunExplainer:
    """A finished run, ready for recordings: network and held-out clips are read once.

    Parameters
    ----------
    folder : path
        Of the run; it must be trained, its patterns are shown where they are there.

    Raises
    ------
    NotFittedError
        There is no run, or it was not trained yet.
    CorruptArtifactError
        A file of it is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        config = stored_config(self.folder)
        model = self.folder / "model" / "model.keras"
        if not model.is_file():
            raise NotFittedError(
                f"The run {self.folder} has no trained network yet. Run `cepscope train {self.folder}` first."
            )
        self.manifest = read_manifest(self.folder / "features")
        labels = read_source(self.folder)["labels"] if config.model.file else ()
        self.front_end = FrontEnd(
            spec=self.manifest.spec,
            frames=self.manifest.frames,
            scaler=self.manifest.load_scaler(self.folder / "features"),
            classes=tuple(labels) if config.model.file else self.manifest.classes,
        )
        self._model = model

    @cached_property
    def explainer(self) -> Explainer:
        """The network, once it is needed."""
        from cepscope.models import load_model

        clips = held_out(self.folder / "features", self.manifest)
        return Explainer(load_model(self._model, compiled=False), self.front_end, clips)

    def read(self, path: str | os.PathLike[str]) -> Recording:
        """Read a sound file as the run's front end hears it; errors as `read_recording`."""
        return read_recording(path, self.front_end.spec)

    def __call__(self, recording: Recording, *, progress: Progress | None = None) -> RunExplanation:
        """Explain a recording."""
        found = self.explainer(recording, progress=progress)
        return RunExplanation(**{one.name: getattr(found, one.name) for one in fields(found)}, run=self.folder)


def explain(
    run: str | os.PathLike[str], source: Source, sr: int | None = None
) -> RunExplanation | tuple[RunExplanation, ...]:
    """Explain a recording, or those of a folder, by a finished run: which class, which units fire and when.

    Parameters
    ----------
    run : path
        The run's folder.
    source : path or array [shape=(samples,)]
        A sound file of any rate, length and level; a folder of them; or audio.
    sr : int, optional
        The rate of an array in Hz, by default that of the run's front end.

    Returns
    -------
    RunExplanation or tuple of RunExplanation
        It draws and plays itself in a notebook; `save` writes the page. Of a folder one a file, in their order.

    Raises
    ------
    NotFittedError
        There is no run, or it was not trained yet.
    DataError
        The recording is missing, unreadable, shorter than 0.05 s or silent.
    ParameterError
        `sr` was given for a file, or an array has more than one axis.

    Warns
    -----
    CepscopeWarning
        A file of a folder can't be used.
    """
    is_path = isinstance(source, str | os.PathLike)
    if is_path and sr is not None:
        raise ParameterError(f"A sound file says its own rate: leave `sr` out. Received: sr={sr!r}")
    explainer = RunExplainer(run)
    if not is_path:
        spec = explainer.front_end.spec
        return explainer(as_recording(source, spec.sr if sr is None else sr, spec))  # type: ignore[arg-type]
    path = Path(source)  # type: ignore[arg-type]
    if path.is_dir():
        return tuple(explainer(one) for _, one in read_all(explainer, recordings_in(path)))
    return explainer(explainer.read(path))


def recordings_in(folder: Path) -> list[Path]:
    """Return the sound files that lie in a folder, not below it; DataError if there are none."""
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise DataError(f"There are no sound files ({' '.join(AUDIO_SUFFIXES)}) in {folder}.")
    return found


def read_all(explainer: RunExplainer, paths: Sequence[Path]) -> Iterator[tuple[Path, Recording]]:
    """Read recordings, each when it is asked for; of several, one that can't be used is a `CepscopeWarning`.

    Raises
    ------
    DataError
        The only one can't be used, or none of them.
    """
    usable = 0
    for path in paths:
        try:
            found = explainer.read(path)
        except DataError as error:
            if len(paths) == 1:
                raise
            warnings.warn(f"skipped {path.name}: {str(error).replace(str(path), path.name)}", CepscopeWarning, 2)
            continue
        usable += 1
        yield path, found
    if not usable:
        raise DataError(f"None of the {len(paths)} recordings can be used.")


def held_out(folder: Path, manifest: Manifest) -> Iterator[FloatArray]:
    """Yield the scaled patches (n, n_mfcc, frames, 1) of a run's held-out clips, some at a time."""
    x = open_split(folder, manifest, "test")
    rows = np.arange(len(x))
    if len(x) > HELD_OUT:
        rows = np.linspace(0, len(x) - 1, HELD_OUT).round().astype(np.intp)
    for first in range(0, len(rows), _AT_ONCE):
        yield x[rows[first : first + _AT_ONCE]]


def unit_sides(folder: Path, units: Sequence[str]) -> dict[str, Side]:
    """Return the patterns and sounds of some of a run's units, as far as they were made."""
    from cepscope.maximize.patterns import Patterns
    from cepscope.report.explanation import Side

    path = folder / "patterns" / "patterns.npz"
    if not path.is_file():
        return {}
    patterns = Patterns.load(path)
    scaler = read_manifest(folder / "features").load_scaler(folder / "features")
    audio = folder / "audio"
    files = stored_files(audio) if (audio / "sounds.npz").is_file() else []
    found = {}
    for place, (name, index) in enumerate(zip(patterns.units, patterns.indices, strict=True)):
        if name in units and index >= 0:
            wav = files[place] if len(files) == len(patterns) else None
            sound: Any = read_audio(wav)[0] if wav is not None and wav.is_file() else None
            found[name] = Side(scaler.in_deviations(patterns.x[place, :, :, 0]), sound, patterns.spec.sr)
    return found
