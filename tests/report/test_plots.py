from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from cepscope.errors import ParameterError
from cepscope.report import (
    plot_filters,
    plot_history,
    plot_layer,
    plot_log_mel,
    plot_mfcc,
    plot_spectrogram,
    plot_unit,
    save_figure,
)


def labels(figure: Any) -> dict[str, tuple[str, str]]:
    return {axes.get_title(): (axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes if axes.get_title()}


def bars(figure: Any) -> list[str]:
    return [axes.get_ylabel() for axes in figure.axes if axes.get_label() == "<colorbar>"]


def test_mfcc_has_seconds_coefficients_and_deviations(content) -> None:
    figure = plot_mfcc(content.units[0].pattern[..., None], content.spec, title="one")
    assert labels(figure) == {"one": ("time [s]", "MFCC coefficient")}
    assert bars(figure) == ["value [sd]"]
    image = figure.axes[0].images[0]
    assert image.get_clim() == (-3.0, 3.0)
    # 64 frames of 10 ms, each centred at its time
    np.testing.assert_allclose(image.get_extent(), (-0.005, 0.635, -0.5, 19.5))
    counted = plot_mfcc(content.units[0].pattern)  # without a spec nothing is known of time
    assert labels(counted) == {"MFCC": ("frame", "MFCC coefficient")}
    raw = plot_mfcc(content.units[0].mfcc, content.spec, unit="")
    low, high = raw.axes[0].images[0].get_clim()
    assert -low == high == np.abs(content.units[0].mfcc).max()


def test_spectrograms_have_seconds_hertz_and_decibels(content) -> None:
    y = content.units[0].audio
    figure = plot_spectrogram(y, content.spec)
    assert labels(figure) == {"Spectrogram": ("time [s]", "frequency [Hz]")}
    assert bars(figure) == ["level [dB below maximum]"]
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert (bottom, top) == (0.0, 8000.0)
    assert right - left == pytest.approx(len(y) / 16000 + 0.005)  # one column of 5 ms more than steps

    mel = plot_log_mel(y, content.spec)
    assert labels(mel) == {"Log-mel spectrogram": ("time [s]", "mel band centre [Hz]")}
    assert bars(mel) == ["level [dB]"]
    hertz = [float(tick.get_text()) for tick in mel.axes[0].get_yticklabels()]
    assert hertz == sorted(hertz)
    assert 0 < hertz[0] < hertz[-1] < 8000


def test_a_unit_and_a_layer_are_drawn(content) -> None:
    card = content.units[-1]
    figure = plot_unit(card, content.spec)
    assert figure.get_suptitle() == "logits:9 nine"
    assert bars(figure) == ["level [dB below maximum]", "value [sd]"]
    assert labels(figure)["pattern"] == ("time [s]", "MFCC coefficient")
    natural = card.score("sound_over_natural")
    assert f"sound: {natural:.2f} of natural, retention 0.42" in labels(figure)

    layer = plot_layer(content.units[-10:], content.spec)
    assert sum(bool(axes.images) for axes in layer.axes) == 10
    assert layer.get_supxlabel() == "time [s]"
    assert f"logits:9 nine  {natural:.2f}" in labels(layer)


def test_filters_share_one_scale(content) -> None:
    kernels = np.stack([card.filter for card in content.units[:11]])
    figure = plot_filters(kernels, names=[card.unit for card in content.units[:11]])
    drawn = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(drawn) == 11
    limit = np.abs(kernels).max()
    assert {image.get_clim() for image in drawn} == {(-limit, limit)}
    assert bars(figure) == ["weight"]
    assert "crbm1:10" in labels(figure)


def test_history_is_drawn_by_epoch(content) -> None:
    figure = plot_history(content.history)
    assert labels(figure)["Fine-tuning: loss"] == ("epoch", "loss")
    assert labels(figure)["Pretraining: free energy gap"] == ("epoch", "free energy gap [nats]")
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert legend == ["training", "held out"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_files_are_the_same_each_time(content, tmp_path: Path, suffix: str) -> None:
    first, second = (
        save_figure(plot_unit(content.units[3], content.spec), tmp_path / f"{name}{suffix}", dpi=80) for name in "ab"
    )
    assert first.read_bytes() == second.read_bytes()
    head = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert first.read_bytes().startswith(head)
    if suffix == ".png":
        assert imread(first).shape[:2] == (400, 448)  # 5.6 by 5 inches


def test_a_figure_draws_itself_in_a_notebook_without_pyplot(content) -> None:
    figure: Any = plot_mfcc(content.units[0].pattern, content.spec)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_what_cannot_be_drawn_is_refused(content, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="n_mfcc, frames"):
        plot_mfcc(np.zeros((2, 3, 4)), content.spec)
    with pytest.raises(ParameterError, match="n, height, width"):
        plot_filters(np.zeros((5, 5)))
    with pytest.raises(ParameterError, match="at least one unit"):
        plot_layer((), content.spec)
    with pytest.raises(ParameterError, match="0 rows"):
        plot_history([])
    with pytest.raises(ParameterError, match=r"x\.bmp"):
        save_figure(plot_history(content.history), tmp_path / "x.bmp")
    assert not list(tmp_path.iterdir())


def test_scores_that_were_not_measured_do_not_stop_a_figure(content) -> None:
    card = dataclasses.replace(content.units[0], scores={})
    assert "sound: nan of natural, retention nan" in labels(plot_unit(card, content.spec))
