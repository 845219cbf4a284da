"""Frames: how a sound is cut and windowed, and patches of one length."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.features.spec import MfccSpec

Array = npt.NDArray[np.float64]


@lru_cache(maxsize=64)
def analysis_window(spec: MfccSpec) -> Array:
    """Return the window times the scale of samples [shape=(win,)]; read-only."""
    phase = 2 * np.pi * np.arange(spec.win) / max(1, spec.win if spec.periodic else spec.win - 1)
    match spec.window:
        case "hann":
            window = 0.5 - 0.5 * np.cos(phase)
        case "povey":
            window = (0.5 - 0.5 * np.cos(phase)) ** 0.85
        case "hamming":
            window = 0.54 - 0.46 * np.cos(phase)
        case "blackman":
            window = 0.42 - 0.5 * np.cos(phase) + 0.08 * np.cos(2 * phase)
        case "rectangular":
            window = np.ones(spec.win)
    window *= spec.scale
    window.flags.writeable = False
    return window


def check_length(samples: int, spec: MfccSpec) -> None:
    """Raise DataError for a sound that is too short to have a frame."""
    if spec.padding == "none" and samples < spec.win:
        raise DataError(f"audio must hold one window of {spec.win} samples without padding. Received: {samples}")
    if spec.padding == "reflect" and samples <= spec.n_fft // 2:
        raise DataError(f"audio must be longer than {spec.n_fft // 2} samples to be reflected. Received: {samples}")


def cut_frames(clips: npt.NDArray[np.floating], spec: MfccSpec) -> Array:
    """Return a view (clips, frames, n_fft) of clips (clips, samples): `win` samples seen, in the middle."""
    before, after = _margins(spec)
    if spec.padding == "reflect":
        padded = np.pad(clips.astype(np.float64), ((0, 0), (before, after)), mode="reflect")
    else:
        padded = np.zeros((len(clips), before + clips.shape[-1] + after))
        padded[:, before : before + clips.shape[-1]] = clips
    return _frames_of(padded, spec)


def cut_some_frames(y: Any, spec: MfccSpec, first: int, count: int) -> Array:
    """Return some frames (count, n_fft) of a sound, an array or what gives its parts; no more of it is asked for."""
    if spec.padding == "reflect":
        return cut_frames(y[:][np.newaxis], spec)[0, first : first + count]
    start = first * spec.hop - _margins(spec)[0]
    padded = np.zeros((1, (count - 1) * spec.hop + spec.n_fft))
    own = y[max(start, 0) : start + padded.shape[1]]
    lead = max(-start, 0)
    padded[0, lead : lead + len(own)] = own
    return np.asarray(_frames_of(padded, spec)[0])


def _margins(spec: MfccSpec) -> tuple[int, int]:
    """Return by how many samples frames of `n_fft` reach beyond the sound, before and after it."""
    before, after = spec.overhang
    left = (spec.n_fft - spec.win) // 2  # samples that the window does not see
    return before + left, after + spec.n_fft - spec.win - left


def _frames_of(padded: Array, spec: MfccSpec) -> Array:
    """Return NumPy's sliding_window_view(padded, n_fft, axis=-1)[:, ::hop], whose own checks take long."""
    whole, each = padded.strides
    frames = (padded.shape[1] - spec.n_fft) // spec.hop + 1
    return np.ndarray((len(padded), frames, spec.n_fft), np.float64, padded, 0, (whole, spec.hop * each, each))


def window_frames(frames: Array, spec: MfccSpec, out: Array | None = None) -> Array:
    """Return frames (..., n_fft) without their mean, pre-emphasised and windowed, whatever of it `spec` asks for.

    What they are written into, if it is given, must be 0 where the window sees nothing.
    """
    if not (spec.remove_dc or spec.preemphasis):
        return np.multiply(frames, _centred_window(spec), out=out)
    left = (spec.n_fft - spec.win) // 2
    seen = slice(left, left + spec.win)
    inner = frames[..., seen]
    if spec.remove_dc:
        inner = inner - inner.mean(axis=-1, keepdims=True)
    if spec.preemphasis:
        first = (1 - spec.preemphasis) * inner[..., :1]  # as if the frame had begun earlier with its first sample
        inner = np.concatenate([first, inner[..., 1:] - spec.preemphasis * inner[..., :-1]], axis=-1)
    windowed = np.zeros(frames.shape) if out is None else out
    np.multiply(inner, analysis_window(spec), out=windowed[..., seen])
    return windowed


@lru_cache(maxsize=32)
def _centred_window(spec: MfccSpec) -> Array:
    """Return the window (n_fft,), in the middle of zeros."""
    left = (spec.n_fft - spec.win) // 2
    return np.pad(analysis_window(spec), (left, spec.n_fft - spec.win - left))


@lru_cache(maxsize=4)
def repeated_window(spec: MfccSpec, times: int) -> Array:
    """Return the window in the middle of zeros, so many times [shape=(times, n_fft)]; read-only.

    Whole blocks of frames are multiplied by it in half of the time that one frame after another takes.
    """
    repeated = np.tile(_centred_window(spec), (times, 1))
    repeated.flags.writeable = False
    return repeated


def spare_frames(frames_there: int, frames: int) -> tuple[int, int]:
    """Return how many frames `fit_length` takes off in front, and how many it adds there."""
    surplus = frames_there - frames
    return (surplus // 2, 0) if surplus >= 0 else (0, -surplus // 2)


def fit_length(C: npt.ArrayLike, frames: int, spec: MfccSpec) -> npt.NDArray[np.float32]:
    """Crop at the centre, or pad both sides with silence; never repeat or wrap the sound.

    An odd frame falls on the right: one more is cropped or padded there.

    Parameters
    ----------
    C : array [shape=(..., n_mfcc, any number of frames)]
        MFCC.
    frames
        Frames wanted.
    spec
        How `C` was computed; its `silence` fills the padding.

    Returns
    -------
    C : array [shape=(..., n_mfcc, frames)]
        A float32 copy.

    Raises
    ------
    ParameterError
        `frames` is below 1, or `C` does not have `spec.n_mfcc` rows.
    """
    if frames < 1:
        raise ParameterError(f"frames must be at least 1. Received: {frames!r}")
    given = np.asarray(C, dtype=np.float32)
    if given.ndim < 2 or given.shape[-2] != spec.n_mfcc:
        raise ParameterError(f"MFCCs have the shape (..., {spec.n_mfcc}, frames). Received: {given.shape}")
    off, on = spare_frames(given.shape[-1], frames)
    if given.shape[-1] >= frames:
        return given[..., off : off + frames].copy()
    fitted = np.empty((*given.shape[:-1], frames), dtype=np.float32)
    fitted[:] = spec.silence[:, np.newaxis]  # (n_mfcc, 1)
    fitted[..., on : on + given.shape[-1]] = given
    return fitted
