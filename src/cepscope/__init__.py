"""Hear what a speech network listens for.

The way from recordings to a page of sounds::

    import cepscope as cs

    corpus = cs.load_corpus("spoken-digits")
    patches = cs.extract(corpus, cs.MfccSpec(sr=16000, floor=1e-5))
    model = cs.build_cdbn(patches.input_shape, classes=patches.classes)
    cs.pretrain(model, patches)
    cs.fit_classifier(model, patches)
    patterns = cs.maximize(model, patches)
    sounds = cs.invert(patterns)
    cs.write_report("runs/digits", model, patches, patterns, sounds)

Names load on first use, so ``import cepscope`` is instant and TensorFlow waits until a network is touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cepscope import invert as invert
    from cepscope import maximize as maximize
    from cepscope.corpora import Corpus as Corpus
    from cepscope.corpora import Patches as Patches
    from cepscope.corpora import load_corpus as load_corpus
    from cepscope.corpora.extract import extract as extract
    from cepscope.features import MfccSpec as MfccSpec
    from cepscope.features import front_end as front_end
    from cepscope.features import mfcc as mfcc
    from cepscope.invert import Sounds as Sounds
    from cepscope.maximize import Patterns as Patterns
    from cepscope.maximize import generate_pattern as generate_pattern
    from cepscope.models import ConvolutionalRBM as ConvolutionalRBM
    from cepscope.models import build_cdbn as build_cdbn
    from cepscope.models import fit_classifier as fit_classifier
    from cepscope.models import load_model as load_model
    from cepscope.models import pretrain as pretrain
    from cepscope.pipeline.explaining import explain as explain
    from cepscope.probe import UnitScores as UnitScores
    from cepscope.probe import score_units as score_units
    from cepscope.report import visualize_activation_maximization as visualize_activation_maximization
    from cepscope.report import visualize_feature_maps as visualize_feature_maps
    from cepscope.report import visualize_filters as visualize_filters
    from cepscope.report import write_report as write_report

_HOMES = {
    "Corpus": "corpora",
    "Patches": "corpora",
    "extract": "corpora",
    "load_corpus": "corpora",
    "MfccSpec": "features",
    "front_end": "features",
    "mfcc": "features",
    "Sounds": "invert",
    "Patterns": "maximize",
    "generate_pattern": "maximize",
    "ConvolutionalRBM": "models",
    "build_cdbn": "models",
    "fit_classifier": "models",
    "load_model": "models",
    "pretrain": "models",
    "explain": "pipeline.explaining",
    "UnitScores": "probe",
    "score_units": "probe",
    "visualize_activation_maximization": "report",
    "visualize_feature_maps": "report",
    "visualize_filters": "report",
    "write_report": "report",
}
_ROOMS = ("invert", "maximize")  # a room and its main function share the name: the module can be called

__all__ = [
    "ConvolutionalRBM",
    "Corpus",
    "MfccSpec",
    "Patches",
    "Patterns",
    "Sounds",
    "UnitScores",
    "build_cdbn",
    "explain",
    "extract",
    "fit_classifier",
    "front_end",
    "generate_pattern",
    "invert",
    "load_corpus",
    "load_model",
    "maximize",
    "mfcc",
    "pretrain",
    "score_units",
    "visualize_activation_maximization",
    "visualize_feature_maps",
    "visualize_filters",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_ROOMS])
