"""Which clips go to test when a corpus does not say."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np

from cepscope.errors import CepscopeWarning

_DRAWS = 32


def draw_split(labels: Sequence[str], speakers: Sequence[str], *, seed: int, test_share: float) -> tuple[str, set[int]]:
    """Choose the clips of test.

    Speakers are kept apart when every clip names one of at least three; otherwise each class is split at
    random.

    Parameters
    ----------
    labels, speakers
        (n,) class and speaker ("" when unknown) of each clip; every class has at least two clips.
    seed
        The same seed and the same clips give the same split.
    test_share
        Share of the clips in test, between 0 and 1.

    Returns
    -------
    note
        One line that says how.
    indices
        The clips of test. Each class keeps at least one clip in train.
    """
    names = set(speakers)
    if "" not in names and len(names) >= 3:
        if chosen := _draw_speakers(labels, speakers, seed, test_share):
            note = f"split by speaker: {len(chosen)} of {len(names)} in test (seed {seed})"
            return note, {i for i, speaker in enumerate(speakers) if speaker in chosen}
        message = "no speaker could go to test without taking a class from train; clips were split at random"
        warnings.warn(message, CepscopeWarning, stacklevel=2)
    rng = np.random.default_rng(seed)
    in_test: set[int] = set()
    for label in sorted(set(labels)):
        members = [i for i, other in enumerate(labels) if other == label]
        count = min(max(1, round(test_share * len(members))), len(members) - 1)
        in_test.update(members[i] for i in rng.permutation(len(members))[:count])
    return f"split at random in each class (seed {seed}); a speaker may be on both sides", in_test


def _draw_speakers(labels: Sequence[str], speakers: Sequence[str], seed: int, test_share: float) -> set[str]:
    """Return the speakers of test: every class stays in train, and as many as can be are in test too."""
    rng = np.random.default_rng(seed)
    clips_of: dict[str, Counter[str]] = {speaker: Counter() for speaker in sorted(set(speakers))}
    for label, speaker in zip(labels, speakers, strict=True):
        clips_of[speaker][label] += 1
    order = list(clips_of)
    total = Counter(labels)
    goal = test_share * len(labels)
    best: tuple[float, set[str]] = (np.inf, set())
    for _ in range(_DRAWS):  # the first of the best draws counts
        test: Counter[str] = Counter()
        chosen: set[str] = set()
        for i in rng.permutation(len(order)):
            more = test + clips_of[order[i]]
            nearer = abs(more.total() - goal) < abs(test.total() - goal) or not chosen
            if nearer and all(more[label] < total[label] for label in more):
                test = more
                chosen.add(order[i])
        # a class that test lacks weighs more than any distance from the share asked for
        cost = len(total) - len(test) + abs(test.total() - goal) / len(labels)
        if chosen and cost < best[0]:
            best = (cost, chosen)
    return best[1]
