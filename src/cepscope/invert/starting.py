"""What an inversion aims at and starts from: the nearest reachable pattern, and a sound with about its envelope."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, mfcc_to_log_mel
from cepscope.invert.envelope import log_mel_to_envelope, mel_bands
from cepscope.invert.excitation import Excitation, excite
from cepscope.invert.feasibility import nearest_log_mel
from cepscope.invert.griffinlim import griffin_lim
from cepscope.invert.matching import Level, limited, relative_error
from cepscope.invert.spectrum import mel_to_spectrum
from cepscope.invert.stft import sound_length
from cepscope.invert.synthesis import synthesize_voiced

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]

LOUDEST = 100.0  # dB of mel power that synthesis starts from at most; unnatural patterns ask for hundreds
NEXT_TO_NOTHING = 0.02  # relative error; recordings stay below it, patterns that no one can say are far above
RESOLVED = 160.0  # Hz: coefficients that tell ripples this narrow from each other see the harmonics of a voice

LIBROSAS = {
    "window": "hann",
    "periodic": True,
    "padding": "zeros",
    "scale": 1.0,
    "remove_dc": False,
    "power": 2,
    "filterbank": "slaney",
    "preemphasis": 0.0,
    "cepstra": "librosa",
    "warp": 1.0,
}  # what librosa's inverse takes for granted


def resolves_harmonics(spec: MfccSpec) -> bool:
    """Say whether a front end's coefficients see the harmonics of a voice and not only its envelope."""
    bands_a_ripple = 2 * spec.n_mels / (spec.orders[-1] + 1)  # of the narrowest cosine
    centres = spec.mel_frequencies()
    return bool(len(centres) > 1 and bands_a_ripple * (centres[1] - centres[0]) < RESOLVED)


def reachable(C: npt.ArrayLike, spec: MfccSpec, *, level: Level = "free") -> Array:
    """Return the MFCC [shape=(n_mfcc, frames)] nearest to a pattern that any sound can have; see `nearest_log_mel`.

    A pattern whose smooth log-mel spectrum needs next to nothing below the front end's limits is returned as it is.
    """
    C = np.asarray(C, np.float64)
    bands = mel_bands(spec, "float64")

    def extracted(log_mel: Array) -> Array:
        coefficients: Array = bands.lifter[:, None] * (bands.dct @ log_mel)
        return coefficients

    if relative_error(extracted(limited(mfcc_to_log_mel(C, spec).astype(np.float64), spec)), C) < NEXT_TO_NOTHING:
        return C
    return extracted(nearest_log_mel(C, spec, level=level))


def start_sound(
    C: npt.ArrayLike,
    spec: MfccSpec,
    *,
    voice: bool,
    rng: np.random.Generator,
    excitation: Excitation = "predicted",
    pitch: float | None = None,
    f0: npt.ArrayLike | None = None,
) -> FloatArray:
    """Make a first sound [shape=(samples,)] with about the envelope of MFCC [shape=(n_mfcc, frames)]; see `invert`."""
    C = np.asarray(C, np.float64)
    samples = sound_length(C.shape[-1], spec)
    log_mel = mfcc_to_log_mel(C, spec).astype(np.float64)
    top = log_mel.max()
    log_mel += np.clip(top, -LOUDEST, LOUDEST + 20 * np.log10(spec.scale)) - top
    if not voice:
        plain = replace(spec, preemphasis=0.0, remove_dc=False)  # the spectrum found is that of the sound itself
        return griffin_lim(mel_to_spectrum(log_mel, spec), plain, samples, rng=rng)
    contour, voiced = excite(C, spec, excitation=excitation, pitch=pitch, f0=f0)
    measured = {} if f0 is None else {"jitter": 0.0, "breath": 0.01}  # a measured contour has its own jitter
    return synthesize_voiced(log_mel_to_envelope(log_mel, spec), contour, voiced, spec, samples, rng=rng, **measured)


def librosa_refuses(spec: MfccSpec) -> tuple[str, ...]:
    """Return the settings of a front end that librosa's inverse does not know."""
    return tuple(name for name, value in LIBROSAS.items() if getattr(spec, name) != value)


def librosa_sound(C: npt.ArrayLike, spec: MfccSpec, *, rng: np.random.Generator) -> FloatArray:
    """Chain librosa's inverse steps, seeded (its mfcc_to_audio lets no seed through), within the range of floats."""
    import librosa

    if refused := librosa_refuses(spec):
        raise ParameterError(
            f"method librosa knows no other {', '.join(refused)} than librosa's own. "
            "Received another front end; take accurate, fast or neutral"
        )
    C = np.asarray(C, np.float32)
    mel = librosa.db_to_power(np.clip(mfcc_to_log_mel(C, spec), -LOUDEST, LOUDEST))
    magnitude = librosa.feature.inverse.mel_to_stft(
        mel, sr=spec.sr, n_fft=spec.n_fft, power=2.0, fmin=spec.fmin, fmax=spec.fmax, htk=spec.htk
    )
    known = inspect.signature(librosa.griffinlim).parameters
    seed: dict[str, Any] = {"rng" if "rng" in known else "random_state": int(rng.integers(2**31))}  # renamed in 1.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_fft=.* is too large")  # a pattern of one or two frames is that short
        sound = librosa.griffinlim(
            magnitude,
            hop_length=spec.hop,
            win_length=spec.win,
            n_fft=spec.n_fft,
            length=sound_length(C.shape[-1], spec),
            **seed,
        )
    return np.asarray(sound, np.float32)
