"""Small arrays to small pictures: palette PNGs written by hand, many thousands a second.

A matplotlib figure for each of some hundred thumbnails would take minutes; an indexed PNG is a header, a
palette and one zlib stream (ISO/IEC 15948). Axes and words are drawn around the picture by the page.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError

SEQUENTIAL, DIVERGING = "magma", "RdBu_r"  # both safe for colour-blind readers
LEVELS = 96  # colours of a picture: more can't be seen, fewer compress better
SPREAD_SD = 3.0  # patterns are drawn from minus to plus this many standard deviations
RANGE_DB = 70.0  # spectrograms are drawn down to this far below their maximum
MAX_BINS = 160  # frequency rows of a spectrogram picture
MOST_COLUMNS = 1000  # of a picture


def encode_png(indices: npt.ArrayLike, palette: npt.ArrayLike) -> bytes:
    """Encode a picture of palette indices.

    Parameters
    ----------
    indices : array [shape=(height, width)] of uint8
        Top row first.
    palette : array [shape=(colours, 3)] of uint8
        Red, green, blue; at most 256 colours.

    Returns
    -------
    bytes
        A PNG file; the same bytes for the same arrays.
    """
    pixels, colours = np.asarray(indices), np.asarray(palette)
    if pixels.ndim != 2 or not pixels.size or pixels.dtype != np.uint8:
        raise ParameterError(
            f"`indices` must be a (height, width) array of uint8. Received: {pixels.dtype} {pixels.shape}"
        )
    if colours.dtype != np.uint8 or colours.shape[1:] != (3,) or not int(pixels.max()) < len(colours) <= 256:
        raise ParameterError(
            f"`palette` must be (colours, 3) uint8 with every index in it. Received: {colours.dtype} {colours.shape}"
        )
    height, width = pixels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # column 0: filter type 0 of each scan line
    rows[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, indexed colour
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", header),
            (b"PLTE", colours.tobytes()),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)),
            (b"IEND", b""),
        )
    )


@cache
def _palette(name: str) -> npt.NDArray[np.uint8]:
    colours = np.asarray(mpl.colormaps[name](np.linspace(0, 1, LEVELS)), np.float64)
    return np.round(255 * colours[:, :3]).astype(np.uint8)


def paint(values: npt.ArrayLike, low: float, high: float, *, colours: str = DIVERGING) -> bytes:
    """Paint a map as a PNG, row 0 at the bottom as in every plot of MFCC.

    Parameters
    ----------
    values : array [shape=(rows, columns)]
        One pixel each; what lies outside `low` ... `high` takes the end's colour.
    low, high : float
        Values of the first and the last colour.
    colours : str
        Name of a matplotlib colour map.

    Returns
    -------
    bytes
    """
    share = (np.asarray(values, np.float64) - low) / max(high - low, np.finfo(float).tiny)
    indices = np.round(np.clip(share, 0, 1) * (LEVELS - 1)).astype(np.uint8)
    return encode_png(indices[::-1], _palette(colours))


def paint_pattern(pattern: npt.ArrayLike) -> bytes:
    """Paint a scaled MFCC patch (n_mfcc, frames) from -3 to 3 sd, zero in the middle."""
    return paint(pattern, -SPREAD_SD, SPREAD_SD)


def paint_filter(kernel: npt.ArrayLike) -> bytes:
    """Paint a kernel (height, width) from minus to plus its largest weight, zero in the middle."""
    limit = float(np.abs(kernel).max()) or 1.0
    return paint(kernel, -limit, limit)


def spectrogram_db(
    audio: npt.ArrayLike, sr: int, *, window: float = 0.025, hop: float = 0.005, bins: int = MAX_BINS
) -> npt.NDArray[np.float64]:
    """Return a short-time power spectrum in dB below its maximum, for looking at.

    Parameters
    ----------
    audio : array [shape=(samples,)]
    sr : int
        In Hz.
    window, hop : float
        Length of the Hann window and distance of the columns in s. Columns are centred at multiples of `hop`.
    bins : int
        Rows at most, or a few more: neighbouring frequencies are averaged until they are so few.

    Returns
    -------
    array [shape=(bins, columns)]
        At most 0 and at least -70 dB; row 0 is 0 Hz, the last row about ``sr / 2``. Silence is
        -70 dB throughout.
    """
    y = np.asarray(audio, np.float64)
    win, step = max(round(window * sr), 2), max(round(hop * sr), 1)
    n_fft = 1 << (win - 1).bit_length()
    columns = len(y) // step + 1
    padded = np.pad(y, (win // 2, win))
    frames = np.lib.stride_tricks.sliding_window_view(padded, win)[: columns * step : step][:columns]
    power = np.abs(np.fft.rfft(frames * np.hanning(win + 1)[:-1], n_fft)).T ** 2  # (n_fft // 2 + 1, columns)
    pooled = max(1, round(len(power) / bins + 0.3))
    usable = len(power) // pooled * pooled
    power = power[:usable].reshape(-1, pooled, power.shape[1]).mean(axis=1)
    peak = float(power.max())
    if peak == 0:
        return np.full(power.shape, -RANGE_DB)
    decibels: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(power / peak, 10 ** (-RANGE_DB / 10)))
    return decibels


def narrow(values: npt.NDArray[Any], columns: int = MOST_COLUMNS) -> npt.NDArray[Any]:
    """Return a picture (rows, columns) of at most so many columns, each the mean of some."""
    starts = np.arange(0, values.shape[1], -(-values.shape[1] // columns))
    widths = np.diff(np.append(starts, values.shape[1]))
    narrowed: npt.NDArray[Any] = np.add.reduceat(values, starts, axis=1) / widths
    return narrowed


def paint_spectrogram(decibels: npt.ArrayLike) -> bytes:
    """Paint what `spectrogram_db` returns."""
    return paint(decibels, -RANGE_DB, 0.0, colours=SEQUENTIAL)
