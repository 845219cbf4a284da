from __future__ import annotations

import pytest

from cepscope.report.curves import draw_panel, history_panels, ticks


def test_history_is_sorted_into_panels(content) -> None:
    panels = {panel.title: panel for panel in history_panels(content.history)}
    assert list(panels) == [
        "Pretraining: reconstruction error",
        "Pretraining: free energy gap",
        "Pretraining: hidden activity",
        "Fine-tuning: loss",
        "Fine-tuning: accuracy",
    ]
    assert [curve.name for curve in panels["Pretraining: reconstruction error"].curves] == ["crbm1", "crbm2"]
    held_out = panels["Fine-tuning: accuracy"].curves[1]
    assert held_out.name == "held out"
    assert len(held_out.epochs) == 30


def test_rows_of_a_csv_are_text_and_may_be_empty() -> None:
    rows = [
        {"layer": "", "epoch": "1", "loss": "2.5", "val_loss": ""},
        {"layer": "", "epoch": "2", "loss": "nan", "val_loss": "1.5"},
        {"layer": "", "epoch": "3", "loss": "1.0", "val_loss": "x"},
    ]
    (panel,) = history_panels(rows)
    assert [(c.name, c.epochs, c.values) for c in panel.curves] == [
        ("training", (1.0, 3.0), (2.5, 1.0)),
        ("held out", (2.0,), (1.5,)),
    ]
    assert history_panels([]) == ()


def test_drawing_keeps_order_and_box(content) -> None:
    for panel in history_panels(content.history):
        drawn = draw_panel(panel)
        for curve, (_, path, *_) in zip(panel.curves, drawn.lines, strict=True):
            points = [tuple(map(float, point.split(","))) for point in path.split()]
            assert all(0 <= value <= 100 for point in points for value in point)
            falls = curve.values[0] > curve.values[-1]
            assert (points[0][1] < points[-1][1]) == falls  # y points down on a screen


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_a_single_epoch_can_be_drawn(value: float) -> None:
    (panel,) = history_panels([{"epoch": 1, "loss": value}])
    drawn = draw_panel(panel)
    assert drawn.lines[0][1] == "50,50"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.3, 12), (0.0331, 0.0334), (0, 22050), (5, 5)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 1 <= len(found) <= 8
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
