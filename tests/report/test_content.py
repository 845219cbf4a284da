from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cepscope.errors import ParameterError
from cepscope.report import UnitCard


def scored(card: UnitCard, **scores: object) -> UnitCard:
    return dataclasses.replace(card, scores={"sound_over_natural": 1.0, "retention": 0.9, **scores})


def test_doubts_are_told_in_words(content) -> None:
    card = content.units[0]
    assert scored(card).doubts == ()
    assert scored(card, sound_over_natural=0.5, retention=0.5).doubts == ()  # the border is trusted
    assert scored(card, sound_over_natural=0.49).doubts == ("the sound excites the unit at 0.49 of the best real clip",)
    assert "keeps 0.31" in scored(card, retention=0.31).doubts[0]
    assert "hears the sound as nine" in scored(card, sound_class="nine", sound_right=False).doubts[0]
    assert "can't be compared" in scored(card, retention=float("nan")).doubts[0]
    assert "can't be compared" in dataclasses.replace(card, scores={}).doubts[0]


@pytest.mark.parametrize("name", ["pattern", "mfcc", "audio"])
def test_arrays_that_cannot_be_shown_are_refused(content, name: str) -> None:
    card = content.units[0]
    broken = getattr(card, name).copy()
    broken.flat[3] = np.nan
    with pytest.raises(ParameterError, match=rf"{name} of crbm1:0.*NaN"):
        dataclasses.replace(card, **{name: broken})
    with pytest.raises(ParameterError, match="Received: shape"):
        dataclasses.replace(card, **{name: broken[None, None]})


def test_content_must_fit_together(content) -> None:
    with pytest.raises(ParameterError, match="at least one unit"):
        dataclasses.replace(content, units=())
    with pytest.raises(ParameterError, match="crbm1:0 more than once"):
        dataclasses.replace(content, units=content.units + content.units[:1])
    with pytest.raises(ParameterError, match=r"\(20, 50\)"):
        dataclasses.replace(content, frames=50)


def test_layers_keep_their_order(content) -> None:
    assert {name: len(cards) for name, cards in content.layers.items()} == {
        "crbm1": 24,
        "crbm2": 48,
        "logits": 10,
    }
