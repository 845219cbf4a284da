from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from cepscope.errors import ParameterError
from cepscope.report import raster


def test_png_decodes_to_the_palette_colours() -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (17, 3)).astype(np.uint8)
    indices = rng.integers(0, 17, (9, 31)).astype(np.uint8)
    decoded = imread(io.BytesIO(raster.encode_png(indices, palette)))
    np.testing.assert_array_equal(np.round(255 * decoded[..., :3]).astype(np.uint8), palette[indices])


@pytest.mark.parametrize(
    ("indices", "palette"),
    [
        (np.zeros((2, 2)), np.zeros((1, 3), np.uint8)),
        (np.zeros(4, np.uint8), np.zeros((1, 3), np.uint8)),
        (np.full((2, 2), 5, np.uint8), np.zeros((5, 3), np.uint8)),
        (np.zeros((2, 2), np.uint8), np.zeros((1, 4), np.uint8)),
    ],
)
def test_png_refuses_what_it_cannot_hold(indices: np.ndarray, palette: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="Received"):
        raster.encode_png(indices, palette)


def test_zero_is_white_and_row_zero_is_at_the_bottom() -> None:
    pattern = np.zeros((5, 7))
    pattern[0] = 3.0  # +3 sd in the lowest coefficient: the end of the map
    image = imread(io.BytesIO(raster.paint_pattern(pattern)))
    assert image.shape[:2] == (5, 7)
    assert (image[:4, :, :3] > 0.94).all()  # RdBu's middle is 0.97, half a colour step off at most
    red, green, blue = image[-1, 0, :3]
    assert red > 0.3 > max(green, blue)


@pytest.mark.parametrize(("sr", "hz"), [(8000, 1000), (16000, 3000), (44100, 440)])
def test_spectrogram_puts_a_tone_at_its_frequency_and_time(sr: int, hz: int) -> None:
    t = np.arange(sr // 2) / sr
    y = np.where(t >= 0.25, np.sin(2 * np.pi * hz * t), 0.0)
    levels = raster.spectrogram_db(y, sr)
    rows, columns = levels.shape
    assert columns == 101  # 0.5 s in steps of 5 ms, both ends
    assert rows <= raster.MAX_BINS
    width = sr / 2 / rows
    # 20 Hz: what is left of the spectrum above the last pooled row
    assert abs((levels[:, 80].argmax() + 0.5) * width - hz) < width + 20
    assert levels.max() == 0.0
    assert levels[:, :40].max() == -raster.RANGE_DB  # silence before 0.25 s minus the window


def test_silence_has_a_spectrogram() -> None:
    assert (raster.spectrogram_db(np.zeros(800), 8000) == -raster.RANGE_DB).all()
