from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from cepscope.errors import ParameterError
from cepscope.probe import Units, match_units, pattern_likeness
from cepscope.probe.matching import assign, settled

RNG = np.random.default_rng


def _smooth(rng: np.random.Generator, count: int, rows: int = 6, frames: int = 40) -> np.ndarray:
    rough = rng.normal(size=(count, rows, frames + 8))
    return np.stack([rough[..., i : i + frames] for i in range(8)]).mean(axis=0)


def _units(patterns: np.ndarray, layer: str = "crbm1", labels: tuple[str, ...] = ()) -> Units:
    return Units(tuple(f"{layer}:{i}" for i in range(len(patterns))), patterns, labels)


def _naive(a: np.ndarray, b: np.ndarray, shift: int) -> float:
    best = -np.inf
    for lag in range(-shift, shift + 1):
        moved = np.zeros_like(b)
        inside = slice(max(lag, 0), min(b.shape[1] + lag, b.shape[1]))
        moved[:, inside] = b[:, max(-lag, 0) : b.shape[1] - max(lag, 0)]
        best = max(best, float((a * moved).sum() / np.linalg.norm(a) / np.linalg.norm(b)))
    return best


@pytest.mark.parametrize("shift", [0, 1, 5, 12, 99])
def test_likeness_is_the_best_cosine_of_all_shifts(shift: int) -> None:
    rng = RNG(0)
    a, b = rng.normal(size=(4, 3, 12)), rng.normal(size=(5, 3, 12))
    found = pattern_likeness(a, b, shift=shift)
    wanted = [[_naive(one, other, min(shift, 11)) for other in b] for one in a]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(pattern_likeness(b, a, shift=shift), found.T, atol=1e-12)
    np.testing.assert_allclose(np.diag(pattern_likeness(a, 7 * a, shift=shift)), 1)


def test_likeness_of_nothing_is_unknown_and_never_chosen() -> None:
    a = RNG(0).normal(size=(2, 3, 12))
    a[0] = 0
    assert np.isnan(pattern_likeness(a, a)[0]).all()
    assert assign(pattern_likeness(a, a)).tolist() == [0, 1]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (5, 5), (3, 5), (5, 3)])
def test_the_assignment_is_the_best_of_all(rows: int, columns: int) -> None:
    for seed in range(20):
        table = RNG(seed).uniform(-1, 1, (rows, columns))
        found = assign(table)
        kept = found[found >= 0]
        assert len(set(kept)) == len(kept) == min(rows, columns)
        wide = table if rows <= columns else table.T
        best = max(
            sum(wide[i, j] for i, j in enumerate(chosen))
            for chosen in itertools.permutations(range(wide.shape[1]), wide.shape[0])
        )
        assert table[found >= 0, kept].sum() == pytest.approx(best)


def test_a_permuted_copy_is_matched_back_exactly() -> None:
    rng = RNG(1)
    patterns = _smooth(rng, 30)
    order = rng.permutation(30)
    found = match_units(_units(patterns), _units(patterns[order]), by="pattern")
    assert (order[found.partner] == np.arange(30)).all()
    np.testing.assert_allclose(found.likeness, 1)
    assert (found.chance < 0.7).all()


def test_a_copy_that_lies_later_is_matched_back_with_shifts_alone() -> None:
    rng = RNG(2)
    patterns = np.zeros((12, 6, 40))
    patterns[:, :, 10:24] = rng.normal(size=(12, 6, 14))  # so rough that a frame later it is another
    order = rng.permutation(12)
    later = np.roll(patterns[order], 6, axis=2)
    found = match_units(_units(patterns), _units(later), by="pattern", shift=8)
    assert (order[found.partner] == np.arange(12)).all()
    np.testing.assert_allclose(found.likeness, 1)
    assert match_units(_units(patterns), _units(later), by="pattern", shift=0).likeness.max() < 0.8


def test_strangers_are_as_alike_as_chance_says_and_kin_are_more() -> None:
    rng = RNG(3)
    one = _smooth(rng, 40)
    strangers = match_units(_units(one), _units(_smooth(rng, 40)), by="pattern")
    assert np.median(strangers.likeness) > 0.3  # the best of forty: alone it would look like kinship
    assert np.median(strangers.likeness) == pytest.approx(np.median(strangers.chance), abs=0.03)
    kin = match_units(_units(one), _units(one + 0.7 * _smooth(rng, 40)), by="pattern")
    assert (kin.partner == np.arange(40)).mean() > 0.9
    assert np.median(kin.likeness) > np.median(kin.chance) + 0.3


def test_classes_answer_to_classes_whatever_they_look_like() -> None:
    rng = RNG(4)
    patterns = _smooth(rng, 3)
    one = _units(patterns, "logits", ("yes", "no", "up"))
    other = _units(patterns, "dense", ("no", "down", "yes"))
    found = match_units(one, other, by="label")
    assert found.partner.tolist() == [2, 0, -1]
    table = pattern_likeness(patterns, patterns)
    np.testing.assert_allclose(found.likeness, [table[0, 2], table[1, 0], np.nan])
    np.testing.assert_allclose(found.chance, [np.median(table[0, :2]), np.median(table[1, 1:]), np.nan])
    assert match_units(one, other, by="name").partner.tolist() == [-1, -1, -1]


def test_auto_goes_by_class_where_there_are_any_and_by_pattern_within_layers() -> None:
    rng = RNG(5)
    patterns = _smooth(rng, 8)
    one = Units(("a:0", "a:1", "b:0", "b:1", "c:0", "c:1"), patterns[:6], ("", "", "", "", "yes", "no"))
    # b's patterns lie in other order, and also in layer a, where they must not be looked for
    other = Units(
        ("a:0", "a:1", "b:0", "b:1", "c:0", "c:1"), patterns[[2, 3, 3, 2, 4, 5]], ("", "", "", "", "no", "yes")
    )
    found = match_units(one, other)
    assert found.partner[2:].tolist() == [3, 2, 5, 4]
    assert set(found.partner[:2]) == {0, 1}
    assert match_units(one, other, by="pattern").partner[4:].tolist() == [4, 5]
    apart = Units(("d:0", "d:1"), patterns[[1, 0]])
    assert match_units(_units(patterns[:2]), apart).partner.tolist() == [1, 0]  # no layer in common: all to all
    few = match_units(_units(patterns[:3]), Units(("crbm1:0",), patterns[[1]]))
    assert few.partner.tolist() == [-1, 0, -1]
    assert np.isnan(few.likeness[[0, 2]]).all()


def test_other_front_ends_are_matched_by_class_alone() -> None:
    one = Units(("a:0", "a:1"), np.ones((2, 3, 8)), ("yes", ""))
    other = Units(("b:0", "b:1"), np.ones((2, 4, 9)), ("", "yes"))
    found = match_units(one, other, comparable=False)
    assert found.partner.tolist() == [1, -1]
    assert np.isnan(found.likeness).all()
    assert np.isnan(found.chance).all()
    with pytest.raises(ParameterError, match="only be matched by label"):
        match_units(one, other, by="pattern", comparable=False)


def test_when_a_pattern_has_become_itself() -> None:
    assert settled([1.0]) == settled([0.95, 0.91, 1.0]) == 0
    assert settled([0.2, 0.95, 1.0]) == 1
    assert settled([0.95, np.nan, 0.92, 1.0]) == 2
    assert settled([0.2, 0.5], threshold=0.4) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Units(("a:0",), np.ones((2, 3, 8))), "a pattern .* and a label each"),
        (lambda: Units((), np.ones((0, 3, 8))), "a pattern"),
        (lambda: Units(("a:0",), np.full((1, 3, 8), np.nan)), "finite"),
        (lambda: pattern_likeness(np.ones((1, 3, 8)), np.ones((1, 3, 9))), "same coefficients and frames"),
        (lambda: pattern_likeness(np.ones((1, 3, 8)), np.ones((1, 3, 8)), shift=-1), "shift"),
        (lambda: match_units(_units(np.ones((1, 3, 8))), _units(np.ones((1, 3, 8))), by="sound"), "'sound'"),
    ],
)
def test_what_cannot_be_matched_is_one_clear_line(call: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
