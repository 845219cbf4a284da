"""What gives an answer away without speech: copies, speakers on both sides, level and offset."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cepscope.corpora.corpus import SPLITS, Corpus
from cepscope.corpora.survey import ClipFacts

FOLDS = 5
_MOST_CLIPS, _MOST_CLASSES = 10_000, 50  # that a probe looks at
_LEAF, _LEAVES = 5, 150  # clips in a leaf of a tree at least; leaves at most
_SURE = 3.0  # standard errors above chance
_WORTH = 0.05  # above chance: a smaller advantage is no reason to worry


@dataclass(frozen=True)
class Probe:
    """How well level and offset alone tell a class.

    Attributes
    ----------
    accuracy
        Cross-validated share of clips whose class is told right.
    chance
        Share of the most frequent class: what always naming it gives.
    error
        Standard error of `accuracy` at chance.
    clips, classes
        How many were looked at.
    """

    accuracy: float
    chance: float
    error: float
    clips: int
    classes: int

    @property
    def tells(self) -> bool:
        """Whether level and offset tell more than chance, by enough to matter."""
        return self.accuracy > self.chance + max(_WORTH, _SURE * self.error)


def copies(corpus: Corpus, facts: Sequence[ClipFacts]) -> list[tuple[str, ...]]:
    """Return the groups of clips with the same rate and samples, by name; digital silence does not count."""
    groups: dict[str, list[int]] = {}
    for i, fact in enumerate(facts):
        if fact.digest and fact.level > -math.inf:
            groups.setdefault(fact.digest, []).append(i)
    return [tuple(corpus.relative(corpus.clips[i]) for i in group) for group in groups.values() if len(group) > 1]


def copies_across(corpus: Corpus, groups: Sequence[tuple[str, ...]], attribute: str) -> list[tuple[str, ...]]:
    """Return those groups of copies whose clips differ in an attribute of `Clip`, as "split" or "label"."""
    value = {corpus.relative(clip): getattr(clip, attribute) for clip in corpus.clips}
    return [group for group in groups if len({value[name] for name in group}) > 1]


def shared_speakers(corpus: Corpus) -> tuple[str, ...]:
    """Return the speakers who are both in train and in test."""
    train, test = ({clip.speaker for clip in corpus.split(side) if clip.speaker} for side in SPLITS)
    return tuple(sorted(train & test))


def shared_recordings(corpus: Corpus) -> tuple[str, ...]:
    """Return the recordings that have stretches both in train and in test."""
    train, test = ({clip.path for clip in corpus.split(side)} for side in SPLITS)
    return tuple(sorted(path.relative_to(corpus.root).as_posix() for path in train & test))


def probe_level(facts: Sequence[ClipFacts], classes: Sequence[str], *, seed: int = 0) -> Probe | None:
    """Tell classes from level and offset alone, by a decision tree under five-fold cross-validation.

    Clips that are silent or can't be read are left out, and classes with fewer clips than folds; of more than 10,000
    clips as many are drawn, of more than 50 classes the most frequent are taken.

    Parameters
    ----------
    facts
        (n,) from `survey`.
    classes
        (n,) label or speaker of each clip; "" is left out.
    seed
        Of the folds, the tree and the draw.

    Returns
    -------
    Probe or None
        None when fewer than two classes are left.
    """
    usable = [i for i, fact in enumerate(facts) if classes[i] and math.isfinite(fact.level)]
    counts = Counter(classes[i] for i in usable)
    kept = {name for name, count in counts.most_common(_MOST_CLASSES) if count >= FOLDS}
    rows = np.array([i for i in usable if classes[i] in kept], dtype=np.int64)
    if len(rows) > _MOST_CLIPS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_CLIPS, replace=False))
        drawn = Counter(classes[i] for i in rows)
        rows = np.array([i for i in rows if drawn[classes[i]] >= FOLDS], dtype=np.int64)
    y = np.array([classes[i] for i in rows])
    if len(set(y.tolist())) < 2:
        return None
    x = np.array([(facts[i].level, facts[i].offset) for i in rows])
    accuracy = float(np.mean(_told(x, y, seed) == y))
    chance = max(Counter(y.tolist()).values()) / len(y)
    error = math.sqrt(chance * (1 - chance) / len(y))
    return Probe(accuracy, chance, error, len(y), len(set(y.tolist())))


def _told(x: NDArray[np.float64], y: NDArray[np.str_], seed: int) -> NDArray[np.str_]:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    # a tree asks for thresholds only, so it needs no scaling and no shape of the classes
    tree = DecisionTreeClassifier(min_samples_leaf=max(_LEAF, len(y) // _LEAVES), random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return np.asarray(cross_val_predict(tree, x, y, cv=folds))
