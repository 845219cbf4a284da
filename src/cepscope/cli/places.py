"""What `invert` was given, and where its sounds go: never over a recording, never unasked into a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Kind = Literal["arrays", "sounds", "run"]

ARRAYS = (".npy", ".npz")
INVERTED = ".inverted"
_RUN = ("run.toml", "run.json")
_ABOVE = 3  # folders above a recording in which its corpus's metadata.csv is looked for
_LEAST = 2  # clips of a class, and classes of a corpus


def kind_of(source: Path) -> Kind:
    """Tell arrays, sounds and runs apart.

    Raises
    ------
    DataError
        The source is none of them.
    """
    from cepscope.errors import DataError

    if not source.is_dir():
        if source.suffix.lower() in ARRAYS:
            return "arrays"
        if source.is_file() and not source.suffix:
            raise DataError(f"There is no run in {source}: it is a file, neither of sound nor of arrays by its name.")
        return "sounds" if source.suffix else "run"
    if is_run(source):
        return "run"
    if sounds_in(source):
        return "sounds"
    raise DataError(
        f"There is no run in {source} (it has no {_RUN[0]}), and no sounds ({' '.join(_suffixes())}){_hint(source)}."
    )


def sounds_in(folder: Path) -> list[Path]:
    """Return the recordings that lie in a folder, not below it; what was inverted before is none."""
    suffixes = _suffixes()
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes
        and not path.name.startswith(".")
        and not path.stem.endswith(INVERTED)
        and path.is_file()
    )


def refuse_corpus(folder: Path) -> None:
    """Raise ParameterError where sounds in a folder would become part of a corpus or a run."""
    from cepscope.errors import ParameterError

    owner = _owner(folder.resolve())
    if owner:
        raise ParameterError(f"{folder} belongs to {owner}. Name where the sounds go with --out.")


def places_for(names: Sequence[str], out: Path | None, *, single: Path, folder: Path) -> list[Path]:
    """Return the wav of each name.

    Parameters
    ----------
    names : sequence of str
        Of the sounds.
    out : Path, optional
        As the person said: a wav, or a folder.
    single, folder : Path
        Where one sound, or several, go unless it was said.

    Raises
    ------
    ParameterError
        `out` does not suit the number of sounds, or a file that was not named is there already.
    DataError
        The folder is a file.
    """
    from cepscope.errors import DataError, ParameterError

    if out is not None and out.suffix and not out.is_dir():
        if len(names) > 1:
            raise ParameterError(f"There are {len(names)} sounds: --out must be a folder. Received: {out}")
        if out.suffix.lower() != ".wav":
            raise ParameterError(f"--out must end in .wav, or be a folder. Received: {out}")
        return [out]
    if out is None and len(names) == 1:
        return [unused(single)]
    into = out or folder
    if into.exists() and not into.is_dir():
        raise DataError(f"{into} is a file: name a folder for {len(names)} sounds with --out.")
    places = [into / f"{stem}.wav" for stem in _distinct([name.replace("/", "-") for name in names])]
    return [unused(place) for place in places]


def refuse_sources(places: Sequence[Path], sources: Sequence[Path]) -> None:
    """Raise ParameterError where a sound would be written over what it is made from."""
    from cepscope.errors import ParameterError

    own = {path.resolve() for path in sources}
    for place in places:
        if place.resolve() in own:
            raise ParameterError(f"{place} is a recording that is to be inverted. Choose another --out.")


def unused(path: Path) -> Path:
    """Refuse to write over a file that was not named: it may be someone's recording."""
    from cepscope.errors import ParameterError

    if path.exists():
        raise ParameterError(f"{path} exists. Name where to write with --out.")
    return path


def _suffixes() -> tuple[str, ...]:
    from cepscope.corpora.layouts.rows import AUDIO_SUFFIXES

    return AUDIO_SUFFIXES


def is_run(folder: Path) -> bool:
    """Tell whether a folder is a run's."""
    return any((folder / name).is_file() for name in _RUN)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _hint(folder: Path) -> str:
    """Say what a folder without recordings has instead."""
    below = [path.name for path in _subfolders(folder) if sounds_in(path)]
    if below:
        more = " ..." if len(below) > 3 else ""
        return f"; they lie in its subfolders ({', '.join(below[:3])}{more}): name one of them"
    if any(path.stem.endswith(INVERTED) for path in folder.iterdir()):
        return f" but *{INVERTED}.wav, which were inverted already"
    return ""


def _owner(folder: Path) -> str:
    """Return the run or the corpus that a folder is part of, "" if none: by what `load_corpus` recognises."""
    for place in (folder, *folder.parents[:_ABOVE]):
        if is_run(place):
            return f"the run {place}"
        if (place / "metadata.csv").is_file():
            return f"the corpus {place} (by its metadata.csv)"
    classes = _subfolders(folder.parent)
    if len(classes) >= _LEAST and all(len(sounds_in(path)) >= _LEAST for path in classes):
        return f"the corpus {folder.parent} (by its class subfolders)"
    return ""


def _distinct(stems: Sequence[str]) -> list[str]:
    """Number stems that are alike: one sound must not overwrite another."""
    found: list[str] = []
    taken: set[str] = set()
    for stem in stems:
        name, count = stem, 1
        while name.lower() in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.lower())
        found.append(name)
    return found
