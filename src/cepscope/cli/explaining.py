"""A person's own recordings against a run: `explain`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cepscope.cli import console

if TYPE_CHECKING:
    from cepscope.pipeline.explaining import RunExplanation

TOLD = 3  # units that are named in the line of a recording


def explain(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Sound files, or a folder of them.")],
    run: Annotated[Path, typer.Option("--run", help="Folder of a trained run, as runs/spoken-digits.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder; of several files one below it each.", show_default="RUN/explain/NAME"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
) -> None:
    """Tell of your own recordings which class a trained network hears, which of its units fire, and when.

    Writes a page with a player (index.html), everything that was measured (activations.npz), and label tracks for
    Audacity: the strongest moments (moments.txt) and the classes (classes.txt).
    """
    from cepscope.pipeline.explaining import RunExplainer, read_all, recordings_in

    explainer = RunExplainer(run)
    paths = [path for source in sources for path in (recordings_in(source) if source.is_dir() else [source])]
    folders = dict(zip(paths, _folders(paths, run, out), strict=True))
    for folder in folders.values():
        _refuse_foreign(folder)
    if len(folders) < len(paths):
        paths = list(folders)  # a file that was named twice is explained once
    with console.progress() as bars:
        for path, recording in read_all(explainer, paths):
            found = explainer(recording, progress=partial(bars.update, path.name))
            page = found.save(folders[path])
            for note in found.notes:
                console.say(note)
            console.say(_line(found))
            answer = {**found.to_dict(), "file": str(path), "page": str(page)}
            typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else str(page))


def _line(found: RunExplanation) -> str:
    """Return a recording's answer for people."""
    said = f"{found.said} ({found.overall.max():.2f}); " if found.classes else ""
    units = ", ".join(f"{one.unit} at {one.time:.2f} s ({one.activation:.2f})" for one in found.top()[:TOLD])
    return f"{found.name}: {said}{units}"


def _folders(paths: Sequence[Path], run: Path, out: Path | None) -> list[Path]:
    """Return where the answer to each recording goes; names that are alike are numbered."""
    if out is not None and len(paths) == 1:
        return [out]
    home = out or run / "explain"
    taken: dict[str, Path] = {}
    folders = []
    for path in paths:
        name, count = path.stem, 1
        while taken.get(name.lower(), path) != path:
            count += 1
            name = f"{path.stem}-{count}"
        taken[name.lower()] = path
        folders.append(home / name)
    return folders


def _refuse_foreign(folder: Path) -> None:
    """Raise where the answer would be written among files of something else."""
    from cepscope.errors import DataError, ParameterError
    from cepscope.pipeline.explaining import FILES

    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file: name a folder with --out.")
    if folder.is_dir() and (other := sorted({path.name for path in folder.iterdir()} - set(FILES))):
        raise ParameterError(f"{folder} holds {other[0]} and no explanation. Choose a new or an empty one with --out.")
