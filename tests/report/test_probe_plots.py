from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cepscope.errors import ParameterError
from cepscope.report import save_figure
from cepscope.report.probe_plots import plot_cka, plot_confusion, plot_few_labels

CURVES = {"mfcc": ([0.6, 0.4, 0.2], [0.05, 0.03, 0.01]), "crbm1": ([0.5, 0.35, 0.15], [0.04, np.nan, 0.01])}


def test_curves_are_percent_over_labels_with_their_bands() -> None:
    figure = plot_few_labels([1, 5, 50], CURVES, chance=0.9)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("labelled clips of each class", "error [%]")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "5", "50"]
    mfcc, crbm1, chance = axes.lines
    np.testing.assert_allclose(mfcc.get_ydata(), [60, 40, 20])
    np.testing.assert_allclose(chance.get_ydata(), 90)
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (pytest.approx(19), pytest.approx(65))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mfcc", "crbm1", "chance"]
    # told apart without colour
    styles = {(line.get_linestyle(), line.get_marker()) for line in (mfcc, crbm1)}
    assert len(styles) == 2
    with pytest.raises(ParameterError, match="increase"):
        plot_few_labels([5, 1, 50], CURVES)
    with pytest.raises(ParameterError, match="'mfcc' must have a value for each of 2"):
        plot_few_labels([1, 5], CURVES)


def test_a_confusion_matrix_shows_shares_of_its_rows() -> None:
    figure = plot_confusion([[8, 2, 0], [1, 1, 2], [0, 0, 0]], ["a", "b", "c"], title="digits")
    axes, bar = figure.axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("digits", "said", "is")
    assert bar.get_ylabel() == "share of the row [%]"
    np.testing.assert_allclose(axes.images[0].get_array(), [[80, 20, 0], [25, 25, 50], [0, 0, 0]])
    assert axes.images[0].get_clim() == (0, 100)
    assert [text.get_text() for text in axes.texts][:4] == ["80", "20", "0", "25"]
    assert axes.yaxis_inverted()  # the first class on top
    assert not plot_confusion(np.eye(30), range(30)).axes[0].texts
    with pytest.raises(ParameterError, match=r"\(2, 2\)"):
        plot_confusion(np.eye(3), ["a", "b"])


def test_likeness_is_drawn_from_nought_to_one(tmp_path: Path) -> None:
    figure = plot_cka(
        [[1.0, 0.25], [np.nan, -0.01], [0.5, 0.6]], ["mfcc", "crbm1", "crbm2"], ["conv1", "conv2"],
        row_network="CDBN", column_network="CNN",
    )  # fmt: skip
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("CNN", "CDBN", "linear CKA")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["mfcc", "crbm1", "crbm2"]
    assert axes.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in axes.texts] == ["1.00", "0.25", "", "-0.01", "0.50", "0.60"]
    with pytest.raises(ParameterError, match="3 x 1"):
        plot_cka(np.ones((2, 2)), list("abc"), ["a"])
    path = save_figure(figure, tmp_path / "cka.png", dpi=60)
    assert imread(path).std() > 0.05
