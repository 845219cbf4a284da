"""The picture of a corpus."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cepscope.corpora import Corpus, load_corpus
from cepscope.corpora.description import Description
from cepscope.corpora.survey import survey
from cepscope.report import save_figure
from cepscope.report.corpora import plot_corpus
from cepscope.report.distributions import MOST_SPEAKERS


@pytest.fixture(scope="module")
def found() -> Description:
    """Return two words by eight voices."""
    whole = load_corpus("spoken-digits")
    speakers = [*whole.speakers[:6], *sorted({clip.speaker for clip in whole.split("test")})[:2]]
    clips = tuple(clip for clip in whole.clips if clip.speaker in speakers and clip.label in ("one", "two"))
    corpus = replace(whole, clips=clips)
    return Description(corpus, survey(corpus), (), None, None)


def test_every_panel_says_what_it_shows_and_in_which_unit(found: Description) -> None:
    figure = plot_corpus(found)
    classes, lengths, levels, offsets = figure.axes
    assert figure.get_suptitle() == f"spoken-digits: {len(found.corpus.clips)} clips of 2 classes"
    assert [axes.get_title() for axes in figure.axes] == [
        "classes",
        "length",
        "level by speaker",
        "offset (DC) by speaker",
    ]
    assert lengths.get_xlabel() == "length [s]"
    assert levels.get_ylabel() == "RMS level [dB of full scale]"
    assert offsets.get_ylabel() == "mean sample [of full scale]"
    assert [label.get_text() for label in levels.get_xticklabels()] == list(found.corpus.speakers)
    # the bars are the clips: train below, test on top
    assert sum(bar.get_height() for bar in classes.patches) == len(found.corpus.clips)
    heights = [bar.get_height() for bar in classes.patches]
    counts = Counter((clip.split, clip.label) for clip in found.corpus.clips)
    assert heights == [counts[side, word] for side in ("train", "test") for word in ("one", "two")]
    flat = [line.get_ydata()[0] for line in levels.lines if len(line.get_ydata()) == 2]  # medians are among them
    assert set(np.round(list(found.by_speaker("level").values()), 6)) <= set(np.round(flat, 6))


def test_many_speakers_and_classes_are_distributions(found: Description) -> None:
    clips = tuple(replace(clip, speaker=str(i), label=f"w{i}") for i, clip in enumerate([*found.corpus.clips] * 4))
    corpus: Corpus = replace(found.corpus, clips=clips)
    assert len(corpus.speakers) > MOST_SPEAKERS
    figure = plot_corpus(Description(corpus, found.facts * 4, (), None, None))
    assert [axes.get_title() for axes in figure.axes] == ["class sizes", "length", "level", "offset (DC)"]
    assert all(axes.get_xlabel() for axes in figure.axes)


def test_the_file_is_the_same_each_time(found: Description, tmp_path: Path) -> None:
    first, again = (
        save_figure(plot_corpus(found), tmp_path / name, dpi=60).read_bytes() for name in ("a.png", "b.png")
    )
    assert first == again
    assert first.startswith(b"\x89PNG")
