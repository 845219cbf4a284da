"""Columns of units to rows of units that answer to each other: who stands beside whom, and who is shown."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.probe.matching import ALONE, MATCHES, SHIFT, Matching, Units, match_units
from cepscope.report.side_by_side_content import Column, SideBySide

MOST_ROWS = 24


def side_by_side(
    columns: Sequence[Column],
    *,
    by: str = "auto",
    reference: int = 0,
    units: Sequence[str] = (),
    most: int = MOST_ROWS,
    shift: int = SHIFT,
    moments: Sequence[str] = (),
) -> SideBySide:
    """Match the units of some networks, layers or moments of a training.

    Parameters
    ----------
    columns : sequence of Column
        Two or more.
    by : {"auto", "name", "label", "pattern"}
        See `cepscope.probe.match_units`. Columns of other front ends or lengths than the reference are matched by label
        alone.
    reference : int
        Column whose units are the rows.
    units : sequence of str
        Those to show, as ``crbm2:7``, by their names in the reference; default: at equal distances, as many of each
        layer.
    most : int
        Rows at most, if no units are named.
    shift : int
        See `cepscope.probe.pattern_likeness`.
    moments : sequence of str
        See `SideBySide`.

    Returns
    -------
    SideBySide

    Raises
    ------
    ParameterError
        There are fewer than two columns, or two of one name; there is no such unit; nothing answers to anything;
        patterns of other front ends or lengths are to be compared.
    """
    columns = tuple(columns)
    names = [column.name for column in columns]
    if len(columns) < 2 or len(set(names)) < len(names):
        raise ParameterError(f"There must be two or more columns of different names. Received: {', '.join(names)}")
    if by not in MATCHES:
        raise ParameterError(f"Units are matched by {', '.join(MATCHES)}. Received: {by!r}")
    if most < 1:
        raise ParameterError(f"A page has at least one row. Received: {most}")
    reference %= len(columns)
    own = columns[reference]
    found = [_matched(own, column, by, shift) for column in columns]
    partners, likeness, chance = (
        np.stack([getattr(one, name) for one in found], axis=1) for name in ("partner", "likeness", "chance")
    )
    shown = choose(own.units, units, most=most, matched=partners)
    return SideBySide(columns, reference, by, partners, likeness, chance, shown, tuple(moments))


def _matched(own: Column, column: Column, by: str, shift: int) -> Matching:
    if column is own:
        everyone = np.arange(len(own.units))
        return Matching(everyone, np.ones(len(everyone)), np.full(len(everyone), np.nan))
    comparable = own.is_comparable(column)
    labelled = set(own.units.labels) & set(column.units.labels) - {""}
    if not comparable and not (labelled and by in ("label", "auto")):
        hint = " Units of the same class can: match them by label." if labelled else ""
        raise ParameterError(
            f"{own.name} and {column.name} can't be compared by {'pattern' if by == 'auto' else by}: "
            f"{_difference(own, column)}.{hint}"
        )
    found = match_units(own.units, column.units, by=by, shift=shift, comparable=comparable)
    if not (found.partner >= 0).any():
        raise ParameterError(_nobody(own, column, by))
    return found


def _difference(own: Column, column: Column) -> str:
    one, other = own.spec.to_dict(), column.spec.to_dict()
    for key in one:
        if one[key] != other.get(key):
            return f"their front ends differ, {key} is {one[key]} and {other.get(key)}"
    return f"their patterns have {own.units.patterns.shape[2]} and {column.units.patterns.shape[2]} frames"


def _nobody(own: Column, column: Column, by: str) -> str:
    if by == "label" and not any(own.units.labels) | any(column.units.labels):
        return f"No unit of {own.name} or {column.name} stands for a class, so none can be matched by label."
    return f"No unit of {column.name} answers to one of {own.name} by {by}. Try another --match."


def choose(
    units: Units, wanted: Sequence[str] = (), *, most: int = MOST_ROWS, matched: npt.ArrayLike | None = None
) -> tuple[int, ...]:
    """Choose the units that have a row: those named, or as many of each layer, at equal distances.

    Parameters
    ----------
    units : Units
    wanted : sequence of str
    most : int
    matched : array [shape=(units, columns)], optional
        Partners; of all units only those with a partner beside themselves are chosen.

    Raises
    ------
    ParameterError
        There is no such unit.
    """
    if wanted:
        for name in wanted:
            if name not in units.names:
                near = difflib.get_close_matches(name, units.names, n=1)
                hint = near[0] if near else units.names[0]
                raise ParameterError(f"There is no unit {name!r} among {len(units)}; nearest: {hint}")
        return tuple(units.names.index(name) for name in dict.fromkeys(wanted))
    fit = np.ones(len(units), bool) if matched is None else (np.asarray(matched) > ALONE).sum(axis=1) > 1
    layers = np.array(units.layers)
    groups = [np.flatnonzero((layers == layer) & fit) for layer in dict.fromkeys(layers)]
    groups = [group for group in groups if len(group)]
    shares = dict.fromkeys(range(len(groups)), 0)
    for _ in range(min(most, sum(map(len, groups)))):  # one more to the layer that has the fewest, if it has more
        place = min((i for i in shares if shares[i] < len(groups[i])), key=lambda i: shares[i])
        shares[place] += 1
    spread = [group[np.arange(shares[i]) * len(group) // max(shares[i], 1)] for i, group in enumerate(groups)]
    return tuple(int(row) for rows in spread for row in rows)
