"""Clips by columns are the clips themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cepscope.corpora import Clip, Corpus
from cepscope.corpora.columns import Kinds, Names
from cepscope.corpora.corpus import Clips

ROOT = Path("/corpus")
SOME = settings(max_examples=60, deadline=None)
# of a file name: no NUL, no slash, no surrogate but those that stand for bytes that are no text
WORDS = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=8)
TIMES = st.one_of(st.just((0.0, None)), st.tuples(st.floats(0, 9), st.floats(10, 99)))


@st.composite
def clips(draw: st.DrawFn) -> tuple[Clip, ...]:
    names = draw(st.lists(WORDS.filter(lambda word: word.strip(".")), max_size=9))
    labels, sides = st.sampled_from(["a", "b"]), st.sampled_from(["train", "test"])
    return tuple(
        Clip(ROOT / name, draw(labels), draw(st.sampled_from(["", "s"])), draw(sides), *draw(TIMES)) for name in names
    )


@SOME
@given(clips())
def test_what_is_packed_comes_back(some: tuple[Clip, ...]) -> None:
    packed = Clips.of(ROOT, some)
    corpus = Corpus("c", ROOT, packed)
    assert tuple(packed) == some
    assert packed == some
    assert hash(packed) == hash(some)
    assert packed[1:] == some[1:]
    assert [packed[i] for i in range(-len(some), len(some))] == [*some, *some]
    assert [packed.name(i) for i in range(len(some))] == [corpus.relative(clip) for clip in some]
    assert tuple(packed.part(1, 4)) == some[1:4]
    assert corpus.labels == tuple(sorted({clip.label for clip in some}))
    assert corpus.speakers == tuple(sorted({clip.speaker for clip in some} - {""}))
    assert Clips.of(ROOT, packed) is packed
    with pytest.raises(IndexError):
        packed[len(some)]


@SOME
@given(clips())
def test_they_are_sorted_as_their_names_and_starts_are(some: tuple[Clip, ...]) -> None:
    packed = Clips.of(ROOT, some).columns.sorted()
    expected = sorted(some, key=lambda clip: (clip.path.relative_to(ROOT).as_posix(), clip.start))
    assert tuple(Clips(ROOT, packed)) == tuple(expected)


@SOME
@given(st.lists(WORDS))
def test_words_are_equal_to_what_they_hold(words: list[str]) -> None:
    for packed in (Names.of(words), Kinds.of(words)):
        assert packed == tuple(words)
        assert tuple(words) == packed
        assert packed != (*words, "more")
        assert packed + packed == (*words, *words)
        assert repr(packed) == repr(tuple(words))
        assert packed[::2] == tuple(words[::2])
    assert tuple(Names.of(words).part(1, 3)) == tuple(words[1:3])


def test_bytes_that_are_no_text_are_kept() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert Names.of([name])[0] == name


def test_test_is_chosen_by_index() -> None:
    some = tuple(Clip(ROOT / name, "a", "", "test") for name in "xyz")
    found = Corpus("c", ROOT, some).with_test([1], "as told")
    assert [clip.split for clip in found.clips] == ["train", "test", "train"]
    assert (found.note, some[0].split) == ("as told", "test")


def test_a_clip_takes_few_bytes() -> None:
    """Of 2000 whole files of 12 letters: what is held, by what it says of itself."""
    packed = Clips.of(ROOT, (Clip(ROOT / f"a/{i:06d}.wav", "a", "s", "train") for i in range(2000))).columns
    arrays = (packed.sides, packed.labels.codes, packed.speakers.codes)
    assert packed.times is None
    assert sum(array.nbytes for array in arrays) == 9 * len(packed)
    assert packed.names._ends.nbytes + len(packed.names._content) == (8 + 12) * len(packed)
    assert isinstance(packed.part(3, 5).sides, np.ndarray)
