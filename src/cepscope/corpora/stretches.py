"""Stretches of sound files: their names, and reading no more of a file than is needed.

A stretch is named as in the Media Fragments standard of the W3C (2012, section 4.2.1): ``a.flac#t=0.5,1.25`` goes from
0.5 s to 1.25 s.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cepscope.audio import checked_rate, read_audio
from cepscope.corpora.waves import read_plain_wav
from cepscope.errors import DataError, ParameterError

if TYPE_CHECKING:
    import soundfile

LONGEST = 60.0  # s; of a longer clip its middle is enough: a patch is about a second, and levels vary within hours
_BLOCK = 1 << 20  # samples read at a time
_LAST = 2**62  # no file has so many samples
_FRAGMENT = re.compile(r"(.*)#t=(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)", re.DOTALL)
_FROM_THE_BEGINNING = ("OGG", "MP3")  # libsndfile's seeking in them is off by up to a frame of the codec


def stretch_name(name: str, start: float = 0.0, stop: float | None = None) -> str:
    """Return the name of a stretch of a file, and the file's own name for all of it.

    Examples
    --------
    >>> stretch_name("audio/a.flac", 0.5, 1.25), stretch_name("audio/a.flac")
    ('audio/a.flac#t=0.5,1.25', 'audio/a.flac')
    """
    if stop is None:
        return name
    first, last = (np.format_float_positional(seconds, trim="-") for seconds in (start, stop))
    return f"{name}#t={first},{last}"


def parse_stretch(name: str) -> tuple[str, float, float | None]:
    """Return the file, start and stop in seconds of what `stretch_name` wrote; the same numbers to the last bit.

    Examples
    --------
    >>> parse_stretch("audio/a.flac#t=0.5,1.25"), parse_stretch("audio/a.flac")
    (('audio/a.flac', 0.5, 1.25), ('audio/a.flac', 0.0, None))
    """
    if match := _FRAGMENT.fullmatch(name):
        return match[1], float(match[2]), float(match[3])
    return name, 0.0, None


def read_stretch(
    path: str | os.PathLike[str], start: float = 0.0, stop: float | None = None, *, longest: float = math.inf
) -> tuple[NDArray[np.float32], int]:
    """Read a stretch of a sound file as mono, and no more than it.

    Parameters
    ----------
    path
        The file.
    start, stop
        Seconds; rounded to the nearest sample. None is the file's end, and so is a `stop` beyond it.
    longest
        Of a longer stretch its middle is read, so many seconds of it.

    Returns
    -------
    y
        (samples,) float32, the same samples that `read_audio` gives there.
    sr
        The file's rate in Hz.

    Raises
    ------
    DataError
        As `read_audio`, or the stretch begins behind the file's end.
    ParameterError
        `start` is negative, or `stop` not behind it.
    """
    whole = start == 0 and stop is None
    if whole and (plain := read_plain_wav(path, longest)):
        return plain
    path = Path(path)
    _check_stretch(start, stop)
    try:
        with open_sound(path) as file:
            sr, length = int(file.samplerate), file.frames / file.samplerate
            if whole and length > longest:
                start, stop = _middle(0.0, length, longest)
            elif stop is not None and stop - start > longest:
                start, stop = _middle(start, stop, longest)
            y = np.concatenate([np.zeros(0, np.float32), *blocks(file, start, stop)])
    except DataError:
        if whole:
            return read_audio(path)  # a header that claims too much: as far as it goes, or what is wrong
        raise
    if whole and not (len(y) and np.isfinite(y).all()):
        return read_audio(path)
    if not len(y):
        raise DataError(f"{path} ends before {start:g} s, where the stretch {start:g}-{stop:g} s begins")
    if not np.isfinite(y).all():
        raise DataError(f"{path} holds NaN or Inf; leave it out or export it again")
    return y, sr


@contextmanager
def open_sound(path: Path) -> Iterator[soundfile.SoundFile]:
    """Lend an open sound file; what goes wrong with it in the body of the ``with`` is a DataError of one line."""
    import soundfile

    if not path.is_file():
        what = "is a folder, expected a sound file" if path.is_dir() else "does not exist; check the path"
        raise DataError(f"{path} {what}")
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            checked_rate(path, int(file.samplerate))
            yield file
    except (soundfile.SoundFileError, RuntimeError, OSError, MemoryError, TypeError) as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".").splitlines()
        raise DataError(
            f"{path} is not a readable sound file ({reason[0] if reason else type(error).__name__}); "
            "expected WAV, FLAC, Ogg or MP3"
        ) from error


def blocks(
    file: soundfile.SoundFile, start: float = 0.0, stop: float | None = None, *, size: int = _BLOCK
) -> Iterator[NDArray[np.float32]]:
    """Yield a stretch of an open sound file as mono float32 in blocks, so that its length costs no memory.

    Ogg and MP3 are decoded from their beginning, since seeking in them is not exact.

    Parameters
    ----------
    file
        Just opened.
    start, stop
        Seconds; None is the end.
    size
        Samples in a block, all channels together.
    """
    first = _sample(start, file.samplerate)
    left = math.inf if stop is None else _sample(stop, file.samplerate) - first
    size = max(1, size // file.channels)
    if file.format in _FROM_THE_BEGINNING:
        while first > 0 and (passed := len(file.read(min(size, first), dtype="float32"))):
            first -= passed
    elif first < file.frames:
        file.seek(first)
    else:
        return
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 can't hold becomes Inf, for the caller to refuse
        while left > 0 and len(block := file.read(int(min(size, left)), dtype="float32", always_2d=True)):
            left -= len(block)
            yield block.mean(axis=1)  # (frames, channels) to (frames,)


def _sample(seconds: float, rate: int) -> int:
    return round(min(seconds * rate, _LAST))


def sound_rate(path: Path) -> int:
    """Return a sound file's sampling rate in Hz from its header; DataError when it has none."""
    with open_sound(path) as file:
        return int(file.samplerate)


def _middle(start: float, stop: float, longest: float) -> tuple[float, float]:
    surplus = stop - start - longest
    return start + surplus / 2, stop - surplus / 2


def _check_stretch(start: float, stop: float | None) -> None:
    if not (math.isfinite(start) and start >= 0):
        raise ParameterError(f"a stretch starts at 0 s or later. Received: {start!r}")
    if stop is not None and not (math.isfinite(stop) and stop > start):
        raise ParameterError(f"a stretch stops behind its start at {start!r} s. Received: {stop!r}")
