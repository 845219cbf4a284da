"""A network on its way: how strongly patterns and sounds of one moment excite their units, then and in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.patterns import Patterns
from cepscope.probe.measures import HasAudio, ratio

Column = npt.NDArray[np.float64]


def score_moment(model: Any, final: Any, patches: Patches, patterns: Patterns, sounds: HasAudio) -> dict[str, Column]:
    """Measure patterns and sounds of one moment of a training.

    Parameters
    ----------
    model : keras.Model
        The network at that moment, whose patterns they are.
    final : keras.Model
        The network that it became.
    patches : Patches
        Its test split is the real held-out speech.
    patterns : Patterns
    sounds : Sounds
        One a pattern, in the same order.

    Returns
    -------
    dict of array [shape=(patterns,)]
        ``pattern_over_natural``, ``sound_over_natural`` and ``retention`` as in `cepscope.probe.score_units`, and
        ``final_over_natural``: the sound's activation of the unit in the final network, in the same measure. NaN where
        no real clip excites a unit above its mean.

    Raises
    ------
    ParameterError
        If sounds and patterns do not match, or there is no held-out speech.
    """
    from cepscope.maximize.objectives import objective_reader, objectives_of

    if len(sounds.audio) != len(patterns) or not len(patches.test):
        raise ParameterError(
            "There must be one sound a pattern, and held-out clips. "
            f"Received: {len(patterns)} patterns, {len(sounds.audio)} sounds, {len(patches.test)} clips"
        )
    x_sound = np.stack([patches.encode(sound, sr=sounds.sr) for sound in sounds.audio])
    own = np.arange(len(patterns))
    found: dict[str, Column] = {}
    for name, network in {"": model, "final": final}.items():
        read = objective_reader(network, objectives_of(patterns))
        real = read.measure(patches.test.x)
        rest, natural = real.mean(axis=0), real.max(axis=0)
        sound = read.measure_own(x_sound, own) - rest
        found[f"{name or 'sound'}_over_natural"] = _ratios(sound, natural - rest)
        if not name:
            pattern = read.measure_own(patterns.x, own) - rest
            found["pattern_over_natural"] = _ratios(pattern, natural - rest)
            found["retention"] = _ratios(sound, pattern)
    return found


def _ratios(values: Any, references: Any) -> Column:
    return np.array([ratio(value, reference) for value, reference in zip(values, references, strict=True)])
