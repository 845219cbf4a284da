"""The stages in order: what each reads and writes, what can be skipped, what was recorded."""

from __future__ import annotations

from cepscope.pipeline.figures import write_figures as write_figures
from cepscope.pipeline.run import NAMES as NAMES
from cepscope.pipeline.run import Outcome as Outcome
from cepscope.pipeline.run import run_stages as run_stages
from cepscope.pipeline.run import stored_config as stored_config
from cepscope.pipeline.stages import corpus_rate as corpus_rate

__all__ = ["NAMES", "Outcome", "corpus_rate", "run_stages", "stored_config", "write_figures"]
