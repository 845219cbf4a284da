from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from cepscope.errors import ParameterError
from cepscope.probe.tables import Estimate, as_csv, as_latex, as_markdown, write_table

ROWS = [
    {"representation": "crbm1|crbm2 & 50 %_", "labels": 5, "error": Estimate(0.123456789, 0.01), "gain": -0.5},
    {"representation": "mfcc", "labels": np.int64(10), "error": Estimate(np.float32(0.25), float("nan"))},
    {"representation": "", "gain": float("nan"), "right": True},
]


def test_csv_keeps_numbers_and_errors_apart() -> None:
    first, second, third = csv.DictReader(io.StringIO(as_csv(ROWS)))
    assert first["representation"] == ROWS[0]["representation"]
    assert (first["error"], first["error standard error"], first["gain"]) == ("0.123457", "0.01", "-0.5")
    assert (second["labels"], second["error"], second["error standard error"], second["gain"]) == ("10", "0.25", "", "")
    assert set(third.values()) == {"", "True"}


def test_markdown_has_one_line_a_row_and_numbers_to_the_right() -> None:
    head, rule, first, second, third = as_markdown(ROWS, digits=2).splitlines()
    assert head == "| representation | labels | error | gain | right |"
    assert rule == "| --- | ---: | ---: | ---: | --- |"
    assert first == r"| crbm1\|crbm2 & 50 %_ | 5 | 0.12 ± 0.01 | -0.50 |  |"
    assert second == "| mfcc | 10 | 0.25 |  |  |"
    assert third == "|  |  |  |  | True |"


def test_latex_is_escaped_and_in_math_where_numbers_are() -> None:
    lines = as_latex(ROWS, caption="50 % off", label="tab:a", digits=2).splitlines()
    assert r"\caption{50 \% off}" in lines
    assert r"\label{tab:a}" in lines
    assert r"\begin{tabular}{lrrrl}" in lines
    assert r"crbm1|crbm2 \& 50 \%\_ & $5$ & $0.12 \pm 0.01$ & $-0.50$ &  \\" in lines
    assert as_latex([{"a": "\\~^#${}"}]).count(r"\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$\{\}") == 1


def test_files_are_written_by_their_suffix(tmp_path: Path) -> None:
    for suffix, text in ((".csv", as_csv(ROWS)), (".md", as_markdown(ROWS)), (".TEX", as_latex(ROWS))):
        path = write_table(tmp_path / f"table{suffix}", ROWS)
        assert path.read_text(encoding="utf-8") == text
    with pytest.raises(ParameterError, match=r"\.csv, \.md, \.tex"):
        write_table(tmp_path / "table.xlsx", ROWS)
    with pytest.raises(ParameterError, match="a row"):
        write_table(tmp_path / "none.csv", [])
    assert not (tmp_path / "none.csv").exists()
