"""Patches to network: the convolutional RBM, the CDBN, its training, its likelihood and what it imagines.

Nothing here loads TensorFlow until a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cepscope.models.ais import bracket as bracket
    from cepscope.models.ais import log_partition as log_partition
    from cepscope.models.cdbn import build_cdbn as build_cdbn
    from cepscope.models.cdbn import build_cnn as build_cnn
    from cepscope.models.crbm import ConvolutionalRBM as ConvolutionalRBM
    from cepscope.models.filters import linear_combinations as linear_combinations
    from cepscope.models.filters import model_filters as model_filters
    from cepscope.models.generation import gibbs_chains as gibbs_chains
    from cepscope.models.generation import reconstruct as reconstruct
    from cepscope.models.generation import sample_unit as sample_unit
    from cepscope.models.generation import top_down as top_down
    from cepscope.models.greedy import pretrain as pretrain
    from cepscope.models.loading import load_model as load_model
    from cepscope.models.parallel import scope_of as scope_of
    from cepscope.models.parallel import training_strategy as training_strategy
    from cepscope.models.presets import preset as preset
    from cepscope.models.saving import save_model as save_model
    from cepscope.models.sources import PatchSource as PatchSource
    from cepscope.models.supervised import fit_classifier as fit_classifier
    from cepscope.models.trainer import CRBMTrainer as CRBMTrainer
    from cepscope.models.transformer import CDBNTransformer as CDBNTransformer

_HOMES = {
    "bracket": "ais",
    "log_partition": "ais",
    "gibbs_chains": "generation",
    "reconstruct": "generation",
    "sample_unit": "generation",
    "top_down": "generation",
    "preset": "presets",
    "scope_of": "parallel",
    "training_strategy": "parallel",
    "PatchSource": "sources",
    "build_cdbn": "cdbn",
    "build_cnn": "cdbn",
    "ConvolutionalRBM": "crbm",
    "linear_combinations": "filters",
    "model_filters": "filters",
    "fit_classifier": "supervised",
    "save_model": "saving",
    "load_model": "loading",
    "pretrain": "greedy",
    "CRBMTrainer": "trainer",
    "CDBNTransformer": "transformer",
}
__all__ = [
    "CDBNTransformer",
    "CRBMTrainer",
    "ConvolutionalRBM",
    "PatchSource",
    "bracket",
    "build_cdbn",
    "build_cnn",
    "fit_classifier",
    "gibbs_chains",
    "linear_combinations",
    "load_model",
    "log_partition",
    "model_filters",
    "preset",
    "pretrain",
    "reconstruct",
    "sample_unit",
    "save_model",
    "scope_of",
    "top_down",
    "training_strategy",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
