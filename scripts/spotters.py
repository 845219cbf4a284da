"""Keyword spotters that others trained, behind what brings cepscope's MFCCs to them.

The networks of Zhang, Suda, Lai, Chandra 2017 ("Hello Edge: keyword spotting on microcontrollers", arXiv:1711.07128)
take 49 frames of 10 MFCCs, time first, from TensorFlow's own front end. One of them by itself, from the command line:

    cepscope maximize --model CNN_S.keras --front-end tf-speech-commands --data FOLDER
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = ("CNN_S", "CNN_L")
FRONT_END = "tf-speech-commands"
FRAMES, COEFFICIENTS = 49, 10


def spotter_spec(floor: float) -> Any:
    """Return cepscope's settings that are nearest to the spotters' front end."""
    from cepscope import MfccSpec
    from cepscope.pipeline.foreign import FRONT_ENDS

    return MfccSpec(n_mfcc=COEFFICIENTS, floor=floor, **FRONT_ENDS[FRONT_END])


def spotter_feed() -> Any:
    """Return what a spotter takes."""
    from cepscope.models.feeding import Feed

    return Feed((FRAMES, COEFFICIENTS, 1), "time-first", "mfcc", COEFFICIENTS, FRAMES)


def fit_front_end(patches: Any) -> tuple[Any, Any, list[float]]:
    """Fit spotter's MFCC = x @ weights + bias for scaled frames x of real speech: weights, bias, R^2 a coefficient."""
    from cepscope.models.reference import fit_tie

    tie, r2 = fit_tie(patches, FRONT_END)
    return *tie, r2


def load_spotter(path: Path, front_end: Any) -> Any:
    """Return the spotter behind the map, with the batch normalisation of each layer folded into it."""
    from cepscope.models import load_model
    from cepscope.models.adapting import adapt

    return adapt(load_model(path, compiled=False), spotter_feed(), tuple(front_end), name=path.stem.lower())


def check_folding(path: Path, model: Any, patches: Any, front_end: Any) -> float:
    """Return how far the folded network's probabilities are from the original's, at most, on real speech."""
    from cepscope.models import load_model
    from cepscope.models.adapting import difference

    original = load_model(path, compiled=False)
    return difference(original, model, patches.test.x[:64], spotter_feed(), tuple(front_end))
