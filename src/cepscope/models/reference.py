"""Front ends that networks of others were trained with and that `MfccSpec` only comes near to.

TensorFlow's own MFCC, which most keyword spotters take (Warden 2018, arXiv:1804.03209; Zhang, Suda, Lai, Chandra 2017,
"Hello Edge", arXiv:1711.07128), are of mel bands of magnitudes, with triangles of height 1, and their cosine transform
has another scale; cepscope's are of bands of power. For speech the two are all but tied by a linear map of a frame's
coefficients. It is fitted to real speech in both and stands in front of the network; its error is reported. What is
below cepscope's floor is heard as noise at the floor, where TensorFlow's logarithm goes on to -27 for digital silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import DataError
from cepscope.features import MfccSpec, mfcc_to_log_mel
from cepscope.models.feeding import Affine

FloatArray = npt.NDArray[np.float32]

LEVEL = 0.3  # peak of what such a network hears; cepscope's clips have 1, recordings of speech commands less
CLIPS = 400  # for the map
SOUNDING = 1.0  # dB by which a frame's loudest band must be above the floor, to count in the map
LEAST = 10  # frames for each coefficient, to fit it


def tensorflow_mfcc(y: FloatArray, spec: MfccSpec) -> FloatArray:
    """Compute TensorFlow's MFCC of a sound, windows centred as cepscope's are.

    Parameters
    ----------
    y : array [shape=(samples,)]
        Audio at `spec.sr`, full scale 1.
    spec : MfccSpec
        Its window, hop, bands, their frequencies and the number of coefficients are taken.

    Returns
    -------
    array [shape=(frames, n_mfcc)]
    """
    from cepscope.models.backend import tf

    left = spec.win // 2
    padded = np.pad(LEVEL * np.asarray(y, np.float32), (left, spec.win - left))
    power: Any = tf.raw_ops.AudioSpectrogram(
        input=padded[:, None], window_size=spec.win, stride=spec.hop, magnitude_squared=True
    )  # (1, frames, bins)
    found = tf.raw_ops.Mfcc(
        spectrogram=power, sample_rate=spec.sr, upper_frequency_limit=spec.fmax, lower_frequency_limit=spec.fmin,
        filterbank_channel_count=spec.n_mels, dct_coefficient_count=spec.n_mfcc,
    )  # fmt: skip
    return np.asarray(found[0])


REFERENCES: dict[str, Callable[[FloatArray, MfccSpec], FloatArray]] = {"tf-speech-commands": tensorflow_mfcc}


def fit_tie(patches: Patches, name: str) -> tuple[Affine, list[float]]:
    """Fit a front end's MFCC as ``x @ weights + bias`` of scaled frames x of real speech.

    Parameters
    ----------
    patches : Patches
        Their training clips, as sounds and as frames.
    name : str
        One of `REFERENCES`.

    Returns
    -------
    tie : (array [shape=(n_mfcc, n_mfcc)], array [shape=(n_mfcc,)])
    r2 : list of float
        R^2 of each coefficient over clips that a fit to half of them has not seen.

    Raises
    ------
    DataError
        If too few frames sound.
    """
    compute, spec = REFERENCES[name], patches.spec
    order = np.random.default_rng(0).permutation(len(patches.train))[:CLIPS]
    ours, theirs = [], []
    for i in order:
        x = patches.train.x[i, :, :, 0].T  # (frames, n_mfcc)
        bands = mfcc_to_log_mel(patches.decode(patches.train.x[i]), spec).max(axis=0)
        sounds = bands > 10 * np.log10(spec.floor) + SOUNDING
        ours.append(x[sounds])
        theirs.append(compute(patches.load_wave(patches.train.paths[i]), spec)[: len(x)][sounds])
    x, y = np.concatenate(ours).astype(np.float64), np.concatenate(theirs).astype(np.float64)
    if len(x) < 2 * LEAST * spec.n_mfcc:
        raise DataError(
            f"The front end {name} is fitted to at least {2 * LEAST * spec.n_mfcc} frames of speech. "
            f"Received: {len(x)}; add recordings"
        )
    half = len(x) // 2
    design = np.column_stack([x, np.ones(len(x))])
    fitted = np.linalg.lstsq(design[:half], y[:half], rcond=None)[0]
    rest = y[half:] - design[half:] @ fitted
    r2 = 1 - np.mean(rest**2, axis=0) / y[half:].var(axis=0)
    whole = np.linalg.lstsq(design, y, rcond=None)[0]
    return (whole[:-1], whole[-1]), [round(float(value), 3) for value in r2]
