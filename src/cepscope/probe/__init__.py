"""Does it hold up? Unit scores and naturalness."""

from __future__ import annotations

from cepscope.probe.agreement import summarise_views as summarise_views
from cepscope.probe.naturalness import Naturalness as Naturalness
from cepscope.probe.naturalness import fit_naturalness as fit_naturalness
from cepscope.probe.scores import UnitScores as UnitScores
from cepscope.probe.scores import load_unit_rows as load_unit_rows
from cepscope.probe.scores import score_units as score_units

__all__ = ["Naturalness", "UnitScores", "fit_naturalness", "load_unit_rows", "score_units", "summarise_views"]
