"""Tables of results as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cepscope.atomic import write_text
from cepscope.errors import ParameterError

Row = Mapping[str, Any]

DIGITS = 3
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error; in CSV two columns, else ``value ± error``."""

    value: float
    error: float


def as_csv(rows: Sequence[Row]) -> str:
    r"""Write rows as CSV, numbers with six digits; what is missing or NaN is left empty.

    Examples
    --------
    >>> as_csv([{"layer": "crbm1", "accuracy": Estimate(0.5, 0.01)}, {"layer": "crbm2"}])
    'layer,accuracy,accuracy standard error\ncrbm1,0.5,0.01\ncrbm2,,\n'
    """
    names = _columns(rows)
    pairs = {name for name in names if any(isinstance(row.get(name), Estimate) for row in rows)}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [title for name in names for title in ([name, f"{name} standard error"] if name in pairs else [name])]
    )
    for row in rows:
        cells: list[Any] = []
        for name in names:
            value = row.get(name)
            if isinstance(value, Estimate):
                cells += [value.value, value.error]
            else:
                cells += [value, None] if name in pairs else [value]
        writer.writerow([_plain(cell) for cell in cells])
    return out.getvalue()


def as_markdown(rows: Sequence[Row], *, digits: int = DIGITS) -> str:
    r"""Write rows as a Markdown table, numbers to the right.

    Examples
    --------
    >>> print(as_markdown([{"layer": "crbm1", "accuracy": Estimate(0.5, 0.01)}]), end="")
    | layer | accuracy |
    | --- | ---: |
    | crbm1 | 0.500 ± 0.010 |
    """
    names = _columns(rows)

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    rule = [("---:" if _is_number(rows, name) else "---") for name in names]
    body = [line([_text(row.get(name), digits) for name in names]) for row in rows]
    return "\n".join([line(names), f"| {' | '.join(rule)} |", *body, ""])


def as_latex(rows: Sequence[Row], *, caption: str = "", label: str = "", digits: int = DIGITS) -> str:
    r"""Write rows as a LaTeX table with the rules of the package booktabs.

    Examples
    --------
    >>> print(as_latex([{"layer": "crbm_1", "accuracy": Estimate(0.5, 0.01)}]), end="")
    \begin{table}
    \centering
    \begin{tabular}{lr}
    \toprule
    layer & accuracy \\
    \midrule
    crbm\_1 & $0.500 \pm 0.010$ \\
    \bottomrule
    \end{tabular}
    \end{table}
    """
    names = _columns(rows)

    def cell(value: Any) -> str:
        text = _text(value, digits)
        if isinstance(value, Estimate) or (_number(value) and text):
            return f"${text.replace('±', chr(92) + 'pm')}$"
        return "".join(LATEX.get(sign, sign) for sign in text)

    lines = [r"\begin{table}", r"\centering"]
    if caption:
        lines.append(rf"\caption{{{cell(caption)}}}")
    if label:
        lines.append(rf"\label{{{label}}}")
    lines += [
        rf"\begin{{tabular}}{{{''.join('r' if _is_number(rows, name) else 'l' for name in names)}}}",
        r"\toprule",
        rf"{' & '.join(cell(name) for name in names)} \\",
        r"\midrule",
        *(rf"{' & '.join(cell(row.get(name)) for name in names)} \\" for row in rows),
        *(r"\bottomrule", r"\end{tabular}", r"\end{table}", ""),
    ]
    return "\n".join(lines)


WRITERS = {".csv": as_csv, ".md": as_markdown, ".tex": as_latex}


def write_table(path: str | Path, rows: Sequence[Row]) -> Path:
    """Write rows to a file whose suffix chooses the format: .csv, .md or .tex; whole or not at all.

    Raises
    ------
    ParameterError
        If the suffix is another, or there are no rows.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise ParameterError(f"Tables are written as {', '.join(WRITERS)}. Received: {path.name}")
    write_text(path, WRITERS[path.suffix.lower()](rows))
    return path


def _columns(rows: Sequence[Row]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise ParameterError("A table needs a row with a column. Received: none")
    return names


def _number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_number(rows: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    return bool(values) and all(_number(value) or isinstance(value, Estimate) for value in values)


def _text(value: Any, digits: int) -> str:
    """Write a value for people: whole numbers as they are, others with so many digits after the point."""
    if isinstance(value, Estimate):
        both = [_text(float(part), digits) for part in (value.value, value.error)]
        return " ± ".join(both) if all(both) else both[0]
    if value is None or (isinstance(value, numbers.Real) and math.isnan(value)):
        return ""
    if _number(value) and not isinstance(value, numbers.Integral):
        return f"{float(value):.{digits}f}"
    return str(value)


def _plain(value: Any) -> str:
    """Write a value for programs."""
    if value is None or (isinstance(value, numbers.Real) and math.isnan(value)):
        return ""
    if _number(value) and not isinstance(value, numbers.Integral):
        return f"{float(value):.6g}"
    return str(value)
