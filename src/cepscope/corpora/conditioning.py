"""From sound to the MFCC of a patch: the level taken out, one rate, one length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from cepscope.audio import ROUNDING, condition, resample
from cepscope.corpora.stretches import LONGEST
from cepscope.features import MfccSpec
from cepscope.features.mfcc import fill_patches


def longest_read(spec: MfccSpec, frames: int) -> float:
    """Return how many seconds of a clip are read at most; of a longer one the middle, where its patch lies."""
    return max(LONGEST, spec.samples_of(frames) / spec.sr + 1)


def sound_to_mfcc(y: NDArray[np.float32], sr: int, spec: MfccSpec, frames: int) -> NDArray[np.float32]:
    """Return the (n_mfcc, frames) float32 MFCC of a sound (samples,) at `sr` Hz, level and DC taken out."""
    patch = np.empty((1, spec.n_mfcc, frames), np.float32)
    fill_patches(patch, [(0, conditioned(y, sr, spec.sr))], spec)
    return np.asarray(patch[0])


def conditioned(y: NDArray[np.float32], sr: int, target_sr: int) -> NDArray[np.float32]:
    """Return a sound (samples,) at `sr` Hz without level and DC, at another rate."""
    y = condition(y)  # before resampling, because an offset that begins and ends would ring there
    return y if sr == target_sr else condition(resample(y, sr, target_sr))


class Levelled:
    """A sound of 16-bit PCM without level and DC: what `condition` gives, to the last bit, where it is looked at.

    Sums of whole numbers are exact, and so are their powers of two: what is left out is work, not rounding.

    Parameters
    ----------
    pcm : array [shape=(samples,)]
        int16, not empty.
    """

    def __init__(self, pcm: NDArray[np.int16]) -> None:
        high, low = int(pcm.max()), int(pcm.min())
        self._pcm, self._mean = pcm, int(pcm.sum(dtype=np.int64)) / len(pcm)
        self._peak = max(high - self._mean, self._mean - low)
        self._silent = self._peak <= ROUNDING * max(high, -low)

    def __len__(self) -> int:
        return len(self._pcm)

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        audio = self._pcm[part].astype(np.float64)
        if self._silent:
            return np.zeros(len(audio), np.float32)
        audio -= self._mean
        audio /= self._peak
        return audio.astype(np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS on one thread: the last bits of a product depend on how many share it."""
    with _threadpools().limit(limits=1, user_api="blas"):
        yield


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()  # looking for the libraries takes milliseconds: once is enough
