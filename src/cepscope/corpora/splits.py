"""Which clips go to test: drawn where a corpus does not say, or chosen by the person."""

from __future__ import annotations

import warnings
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from cepscope.corpora.corpus import SPLITS, Corpus
from cepscope.errors import CepscopeWarning, DataError, ParameterError

GIVEN = "given"
HELD_OUT = "speaker:"  # before a speaker's name
_DRAWS = 32
_FEWEST = 3  # speakers: with two, a half of the corpus would be held out


def resplit(corpus: Corpus, how: str, *, seed: int = 0, test_share: float = 0.2) -> Corpus:
    """Split a corpus in another way.

    Parameters
    ----------
    corpus
        From `load_corpus`.
    how
        ``"given"`` leaves it as it is; ``"random"`` splits every class at random; ``"speakers"`` keeps speakers apart;
        ``"speaker:NAME"`` holds one speaker out.
    seed
        The same seed and the same clips give the same split.
    test_share
        Share of the clips in test, for ``"random"`` and ``"speakers"``.

    Returns
    -------
    Corpus
        The same clips, and a note that says how they were split.

    Raises
    ------
    ParameterError
        No such way, or no such speaker.
    DataError
        A clip's speaker is not known, or no split by speaker leaves every class in train.
    """
    if how == GIVEN:
        return corpus
    labels, speakers = corpus.columns.labels, corpus.columns.speakers
    if how == "random":
        return corpus.with_test(random_test(labels, seed=seed, test_share=test_share), _random_note(seed))
    if how != "speakers" and not how.startswith(HELD_OUT):
        raise ParameterError(f"split must be given, random, speakers or speaker:NAME. Received: {how!r}")
    if "" in speakers.present:
        unknown = next(clip for clip in corpus.clips if not clip.speaker)
        raise DataError(f"{corpus.root}: the speaker of {corpus.relative(unknown)} is not known; split='random'")
    if how.startswith(HELD_OUT):
        return _without(corpus, how.removeprefix(HELD_OUT))
    chosen = draw_groups(labels, speakers, seed=seed, test_share=test_share)
    if not chosen:
        raise DataError(f"{corpus.root}: no speaker can go to test without taking a class from train; split='random'")
    note = f"split by speaker: {len(chosen)} of {len(corpus.speakers)} in test (seed {seed})"
    return corpus.with_test((i for i, speaker in enumerate(speakers) if speaker in chosen), note)


def leave_one_speaker_out(corpus: Corpus) -> Iterator[tuple[str, Corpus]]:
    """Yield a fold for each speaker: the speaker, and the corpus with all of the speaker's clips in test.

    Raises
    ------
    DataError
        A clip's speaker is not known, there is one speaker only, or a class is spoken by one speaker only.
    """
    if len(corpus.speakers) < len(SPLITS):
        raise DataError(f"{corpus.root}: leaving a speaker out needs at least two. Received: {len(corpus.speakers)}")
    for speaker in corpus.speakers:
        yield speaker, resplit(corpus, HELD_OUT + speaker)


def draw_split(
    labels: Sequence[str],
    speakers: Sequence[str],
    *,
    seed: int,
    test_share: float,
    recordings: Sequence[str] | None = None,
) -> tuple[str, set[int]]:
    """Choose the clips of test.

    Speakers are kept apart when every clip names one of at least three; else recordings are, when clips are stretches
    of at least three; otherwise each class is split at random.

    Parameters
    ----------
    labels, speakers
        (n,) class and speaker ("" when unknown) of each clip; every class has at least two clips.
    seed
        The same seed and the same clips give the same split.
    test_share
        Share of the clips in test, between 0 and 1.
    recordings
        (n,) the recording of each clip, where one holds several.

    Returns
    -------
    note
        One line that says how.
    indices
        The clips of test. Each class keeps at least one clip in train.
    """
    kinds = [("speaker", speakers), ("recording", recordings or ())]
    for what, groups in kinds:
        names = set(groups)
        if "" in names or len(names) < _FEWEST:
            continue
        if chosen := draw_groups(labels, groups, seed=seed, test_share=test_share):
            note = f"split by {what}: {len(chosen)} of {len(names)} in test (seed {seed})"
            return note, {i for i, group in enumerate(groups) if group in chosen}
        message = f"no {what} could go to test without taking a class from train; clips were split at random"
        warnings.warn(message, CepscopeWarning, stacklevel=2)
        break
    return _random_note(seed), random_test(labels, seed=seed, test_share=test_share)


def random_test(labels: Sequence[str], *, seed: int, test_share: float) -> set[int]:
    """Return the clips of test, drawn in each class by itself; a class keeps at least one clip in train."""
    rng = np.random.default_rng(seed)
    in_test: set[int] = set()
    members_of = {label: array("q") for label in sorted(set(labels))}
    for i, label in enumerate(labels):
        members_of[label].append(i)
    for members in members_of.values():
        count = min(max(1, round(test_share * len(members))), len(members) - 1)
        in_test.update(members[i] for i in rng.permutation(len(members))[:count])
    return in_test


def draw_groups(labels: Sequence[str], groups: Sequence[str], *, seed: int, test_share: float) -> set[str]:
    """Return the groups of test (speakers, say): every class stays in train, and as many as can be are in test too.

    It is empty when no group can go.
    """
    rng = np.random.default_rng(seed)
    clips_of: dict[str, Counter[str]] = {group: Counter() for group in sorted(set(groups))}
    for label, group in zip(labels, groups, strict=True):
        clips_of[group][label] += 1
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


def _random_note(seed: int) -> str:
    return f"split at random in each class (seed {seed}); a speaker may be on both sides"


def _without(corpus: Corpus, speaker: str) -> Corpus:
    """Return the corpus with one speaker in test."""
    if speaker not in corpus.speakers:
        raise ParameterError(f"{corpus.root}: no speaker {speaker!r}. There are: {', '.join(corpus.speakers[:12])}")
    in_test = {i for i, clip in enumerate(corpus.clips) if clip.speaker == speaker}
    train = {clip.label for i, clip in enumerate(corpus.clips) if i not in in_test}
    if lost := sorted(set(corpus.labels) - train):
        raise DataError(f"{corpus.root}: only speaker {speaker} has class {lost[0]!r}; nobody else could teach it")
    return corpus.with_test(in_test, f"speaker {speaker} held out, 1 of {len(corpus.speakers)}")
