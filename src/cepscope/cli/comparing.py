"""Runs, layers or moments of a training side by side: `compare`."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cepscope.cli import console

if TYPE_CHECKING:
    from cepscope.report import Column, SideBySide


class By(StrEnum):
    """What makes units answer to each other."""

    auto = "auto"
    name = "name"
    label = "label"
    pattern = "pattern"


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    layers: Annotated[
        str | None, typer.Option("--layers", metavar="LAYER,LAYER", help="Of one run: its layers to compare.")
    ] = None,
    match: Annotated[
        By, typer.Option("--match", help="Which units answer to each other; auto: by class, the others by pattern.")
    ] = By.auto,
    units: Annotated[
        list[str] | None, typer.Option("--unit", metavar="LAYER:INDEX", help="A unit to show; repeatable.")
    ] = None,
    most: Annotated[int, typer.Option("--units", help="Rows at most, if no unit is named.", min=1, max=200)] = 24,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The .html.", show_default="RUN/report/compare-....html", dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
) -> None:
    """Put runs side by side on one page, or layers of a run, or a run's network at moments of its training.

    Two runs or more: each unit of the first beside those that answer to it. One run: how its units came to be, from the
    snapshots that train.snapshots=true keeps of its training.
    """
    from cepscope.errors import ParameterError
    from cepscope.invert.sounds import file_name
    from cepscope.report import write_side_by_side

    if layers is not None and len(runs) > 1:
        raise ParameterError(f"--layers compares layers of one run. Received: {len(runs)} runs")
    names = [name.strip() for name in layers.split(",")] if layers is not None else []
    found = _found(runs, names if layers is not None else None, match.value, units or [], most)
    kind = "-".join(names) or ("-".join(run.resolve().name for run in runs[1:]) or "snapshots")
    place = out or runs[0] / "report" / f"compare-{file_name(kind)}.html"
    title = f"How the units of {runs[0].resolve().name} came to be" if found.moments else ""
    page = write_side_by_side(place, found, title=title)
    for layer in found.layers:
        if any(math.isfinite(found.median(layer, place, "likeness")) for place in _others(found)):
            console.say(_line(found, layer))
    typer.echo(json.dumps({"page": str(page), **found.to_dict()}) if as_json else str(page))


def _found(runs: list[Path], layers: list[str] | None, by: str, units: list[str], most: int) -> SideBySide:
    from cepscope.pipeline.comparing import compare_layers, compare_runs, compare_snapshots

    if layers is not None:
        return compare_layers(runs[0], layers, by=by, units=units, most=most)
    if len(runs) > 1:
        return compare_runs(runs, by=by, units=units, most=most)
    with console.progress() as bars:
        return compare_snapshots(runs[0], by=by, units=units, most=most, progress=bars.update)


def _others(found: SideBySide) -> dict[int, Column]:
    return {place: column for place, column in enumerate(found.columns) if place != found.reference}


def _line(found: SideBySide, layer: str) -> str:
    """Return a layer's answer for people: how alike its units are in the other columns."""
    told = [
        f"{column.name} {found.median(layer, place, 'likeness'):.2f} "
        f"(chance {found.median(layer, place, 'chance'):.2f})"
        for place, column in _others(found).items()
    ]
    return f"{layer}, median likeness to {found.columns[found.reference].name}: {', '.join(told)}"
