"""The clips that a page shows of a corpus: of each class those nearest to its middle, the same each time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cepscope.corpora.corpus import Clip
from cepscope.corpora.description import Description
from cepscope.corpora.survey import ClipFacts

MOST_CLASSES, MOST_CLIPS = 20, 40  # of a page


@dataclass(frozen=True)
class Typical:
    """Clips by class.

    Attributes
    ----------
    classes : dict of str to tuple of (Clip, ClipFacts)
    left_out : int
        Classes of which none is shown.
    """

    classes: dict[str, tuple[tuple[Clip, ClipFacts], ...]]
    left_out: int


def typical_clips(description: Description, count: int = 2) -> Typical:
    """Choose clips of each class that are neither long nor short, neither loud nor soft.

    Parameters
    ----------
    description : Description
    count : int
        Of each class. Those nearest to the class's median length and level are taken, of different speakers as far
        as there are any; of clips that are equally near the first by name. Silent and unreadable ones do not count.

    Returns
    -------
    Typical
        Of the first 20 classes, or of fewer where that would be more than 40 clips.
    """
    own: dict[str, list[tuple[Clip, ClipFacts]]] = {}
    for clip, fact in description.pairs:
        if math.isfinite(fact.level):
            own.setdefault(clip.label, []).append((clip, fact))
    shown = sorted(own)[: max(1, min(MOST_CLASSES, MOST_CLIPS // count))]
    return Typical({label: _nearest(own[label], count) for label in shown}, len(own) - len(shown))


def _nearest(pairs: list[tuple[Clip, ClipFacts]], count: int) -> tuple[tuple[Clip, ClipFacts], ...]:
    # a factor of 2 in length counts as much as 6 dB in level
    places = np.array([(math.log2(fact.seconds), fact.level / 6) for _, fact in pairs])
    distance = np.round(np.linalg.norm(places - np.median(places, axis=0), axis=1), 6)
    speakers: set[str] = set()
    first: list[tuple[Clip, ClipFacts]] = []
    rest: list[tuple[Clip, ClipFacts]] = []
    for i in np.argsort(distance, kind="stable"):
        speaker = pairs[i][0].speaker
        (rest if speaker and speaker in speakers else first).append(pairs[i])
        speakers.add(speaker)
    return tuple((first + rest)[:count])
