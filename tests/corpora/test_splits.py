"""Splits drawn where a corpus brings none, and those that a person asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut

from cepscope.corpora import Corpus, load_corpus
from cepscope.corpora.splits import draw_split, leave_one_speaker_out, resplit
from cepscope.errors import CepscopeWarning, DataError, ParameterError

clips = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123456")), min_size=12, max_size=60)


@given(clips, st.integers(0, 50), st.floats(0.05, 0.6))
@pytest.mark.filterwarnings("ignore::cepscope.errors.CepscopeWarning")
def test_every_class_stays_in_train(pairs: list[tuple[str, str]], seed: int, share: float) -> None:
    counts = Counter(label for label, _ in pairs)
    pairs = [pair for pair in pairs if counts[pair[0]] > 1]
    if not pairs:
        return
    labels, speakers = [label for label, _ in pairs], [speaker for _, speaker in pairs]
    note, test = draw_split(labels, speakers, seed=seed, test_share=share)
    train = set(range(len(pairs))) - test
    assert test
    assert {labels[i] for i in train} == set(labels)
    if note.startswith("split by speaker"):
        assert not {speakers[i] for i in train} & {speakers[i] for i in test}
    assert draw_split(labels, speakers, seed=seed, test_share=share) == (note, test)


def test_speakers_are_kept_apart(shared_dir: Path) -> None:
    corpus = load_corpus(shared_dir / "corpora" / "fsdd")
    labels, speakers = [c.label for c in corpus.clips], [c.speaker for c in corpus.clips]
    note, test = draw_split(labels, speakers, seed=1, test_share=0.2)
    assert note == "split by speaker: 1 of 6 in test (seed 1)"
    assert len({speakers[i] for i in test}) == 1
    assert {labels[i] for i in test} == set(labels)


def test_one_label_a_speaker(shared_dir: Path) -> None:
    corpus = load_corpus(shared_dir / "corpora" / "librispeech_sex")
    labels, speakers = [c.label for c in corpus.clips], [c.speaker for c in corpus.clips]
    _, test = draw_split(labels, speakers, seed=0, test_share=0.2)
    assert {labels[i] for i in test} == {"female", "male"}
    assert len(test) / len(labels) == pytest.approx(0.2, abs=0.05)  # speakers can't be cut in two


def test_speakers_that_own_a_class_each() -> None:
    with pytest.warns(CepscopeWarning, match="split at random"):
        note, test = draw_split(list("aabbcc"), list("112233"), seed=0, test_share=0.2)
    assert "at random" in note
    assert len(test) == 3


@pytest.fixture(scope="module")
def few(digits: Corpus) -> Corpus:
    """Return three words by eight voices of the built-in corpus."""
    clips = tuple(c for c in digits.clips if c.speaker in digits.speakers[:8] and c.label in ("one", "two", "six"))
    return Corpus("few", digits.root, clips, note="as it came")


def test_given_is_left_as_it_is(few: Corpus) -> None:
    assert resplit(few, "given") is few


def test_random_splits_every_class(few: Corpus) -> None:
    found = resplit(few, "random", seed=4, test_share=0.25)
    assert Counter(clip.label for clip in found.split("test")) == {"one": 4, "two": 4, "six": 4}
    assert "at random" in found.note
    assert [replace(clip, split="train") for clip in found.clips] == [replace(c, split="train") for c in few.clips]
    assert found == resplit(few, "random", seed=4, test_share=0.25)
    assert found != resplit(few, "random", seed=5, test_share=0.25)


def test_speakers_keeps_them_apart(few: Corpus) -> None:
    found = resplit(few, "speakers", seed=1, test_share=0.25)
    train, test = ({clip.speaker for clip in found.split(side)} for side in ("train", "test"))
    assert (len(train), len(test)) == (6, 2)
    assert not train & test
    assert found.note == "split by speaker: 2 of 8 in test (seed 1)"
    assert load_corpus(few.root, split="speakers", seed=1).note == "split by speaker: 9 of 45 in test (seed 1)"


def test_one_speaker_held_out(few: Corpus) -> None:
    name = few.speakers[2]
    found = resplit(few, f"speaker:{name}")
    assert {clip.speaker for clip in found.split("test")} == {name}
    assert name not in {clip.speaker for clip in found.split("train")}
    assert found.note == f"speaker {name} held out, 1 of 8"


def test_leave_one_speaker_out_tests_every_clip_once(few: Corpus) -> None:
    folds = list(leave_one_speaker_out(few))
    assert [speaker for speaker, _ in folds] == list(few.speakers)
    tested = Counter(few.relative(clip) for _, fold in folds for clip in fold.split("test"))
    assert set(tested.values()) == {1}
    assert len(tested) == len(few.clips)
    # the same folds as scikit-learn's
    groups = [clip.speaker for clip in few.clips]
    for (_, fold), (train, test) in zip(folds, LeaveOneGroupOut().split(groups, groups=groups), strict=True):
        assert [i for i, clip in enumerate(fold.clips) if clip.split == "test"] == test.tolist()
        assert [i for i, clip in enumerate(fold.clips) if clip.split == "train"] == train.tolist()


def test_splits_that_can_not_be(few: Corpus) -> None:
    with pytest.raises(ParameterError, match=r"given, random, speakers or speaker:NAME. Received: 'folds'"):
        resplit(few, "folds")
    with pytest.raises(ParameterError, match="no speaker 'nobody'"):
        resplit(few, "speaker:nobody")
    with pytest.raises(ParameterError, match="Received: 'dev'"):
        load_corpus("spoken-digits", split="dev")
    unknown = replace(few, clips=(replace(few.clips[0], speaker=""), *few.clips[1:]))
    with pytest.raises(DataError, match=r"the speaker of .* is not known"):
        resplit(unknown, "speakers")
    with pytest.raises(DataError, match=r"the speaker of .* is not known"):
        list(leave_one_speaker_out(unknown))
    own = replace(few, clips=tuple(replace(clip, label=clip.speaker) for clip in few.clips))
    with pytest.raises(DataError, match="no speaker can go to test without taking a class from train"):
        resplit(own, "speakers")
    with pytest.raises(DataError, match=f"only speaker {few.speakers[0]} has class '{few.speakers[0]}'"):
        list(leave_one_speaker_out(own))
    alone = replace(few, clips=tuple(clip for clip in few.clips if clip.speaker == few.speakers[0]))
    with pytest.raises(DataError, match=r"needs at least two. Received: 1"):
        list(leave_one_speaker_out(alone))


def test_recordings_are_kept_apart_where_speakers_are_not_known() -> None:
    labels, recordings = list("abababab"), list("11223344")
    note, test = draw_split(labels, [""] * 8, seed=0, test_share=0.25, recordings=recordings)
    assert note == "split by recording: 1 of 4 in test (seed 0)"
    assert len({recordings[i] for i in test}) == 1
    assert len(test) == 2
