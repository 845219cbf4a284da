"""Does it hold up? Unit scores and naturalness; what labels can be read from a representation."""

from __future__ import annotations

from cepscope.probe.agreement import summarise_views as summarise_views
from cepscope.probe.fewlabels import FewLabels as FewLabels
from cepscope.probe.fewlabels import few_label_errors as few_label_errors
from cepscope.probe.linear import linear_probe as linear_probe
from cepscope.probe.matching import Units as Units
from cepscope.probe.matching import match_units as match_units
from cepscope.probe.matching import pattern_likeness as pattern_likeness
from cepscope.probe.naturalness import Naturalness as Naturalness
from cepscope.probe.naturalness import fit_naturalness as fit_naturalness
from cepscope.probe.representations import represent as represent
from cepscope.probe.representations import sounding as sounding
from cepscope.probe.result import ProbeResult as ProbeResult
from cepscope.probe.scores import UnitScores as UnitScores
from cepscope.probe.scores import load_unit_rows as load_unit_rows
from cepscope.probe.scores import score_units as score_units
from cepscope.probe.selectivity import LabelSelectivity as LabelSelectivity
from cepscope.probe.selectivity import label_selectivity as label_selectivity
from cepscope.probe.similarity import linear_cka as linear_cka

__all__ = [
    "FewLabels",
    "LabelSelectivity",
    "Naturalness",
    "ProbeResult",
    "UnitScores",
    "Units",
    "few_label_errors",
    "fit_naturalness",
    "label_selectivity",
    "linear_cka",
    "linear_probe",
    "load_unit_rows",
    "match_units",
    "pattern_likeness",
    "represent",
    "score_units",
    "sounding",
    "summarise_views",
]
