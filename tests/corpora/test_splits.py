"""Splits drawn where a corpus brings none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cepscope.corpora import load_corpus
from cepscope.corpora.splits import draw_split
from cepscope.errors import CepscopeWarning

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
