"""What the pages that are written on demand show of a run: its recordings, and how it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cepscope.atomic import load_npz
from cepscope.config import RunConfig
from cepscope.corpora import Corpus, load_corpus
from cepscope.corpora.corpus import Clip
from cepscope.errors import CorruptArtifactError, NotFittedError, ParameterError
from cepscope.pipeline.ledger import Ledger
from cepscope.pipeline.run import stored_config
from cepscope.pipeline.stages import corpus_rate, read_history

if TYPE_CHECKING:
    from cepscope.features import MfccSpec


@dataclass(frozen=True)
class Recordings:
    """A corpus, and the front end that settings hear it through."""

    corpus: Corpus
    spec: MfccSpec
    seed: int


def recordings_of(config: RunConfig) -> Recordings:
    """Load the corpus that settings name."""
    corpus = load_corpus(config.corpus, **config.reading())
    return Recordings(corpus, config.features.spec(corpus_rate(corpus)), config.seed)


@dataclass(frozen=True)
class Training:
    """How a run was trained: see `cepscope.report.write_training_page`."""

    title: str
    history: Sequence[Mapping[str, Any]]
    filters: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    facts: Sequence[tuple[str, str]]


def training_of(folder: str | Path) -> Training:
    """Read how a run was trained.

    Raises
    ------
    NotFittedError, CorruptArtifactError
        There is no run, it was not trained yet, or a file of its network was changed.
    ParameterError
        Its network was trained by others.
    """
    config = stored_config(folder)
    root = Path(folder).resolve()
    if config.model.file:
        raise ParameterError(
            f"The network of {folder} was trained by others ({Path(config.model.file).name}): there is no training to "
            "show. Kinds of page that go with this run: units, corpus, methods."
        )
    ledger = Ledger(root)
    if not ledger.outputs("train"):
        raise NotFittedError(f"{folder} was not trained yet. Run `cepscope train {folder}` first.")
    if not ledger.is_intact("train"):
        raise CorruptArtifactError(
            f"A file of `train` in {folder} is missing or was changed. Run `cepscope train {folder}` again."
        )
    history = read_history(root / "model" / "history.csv")
    if not history:
        raise NotFittedError(f"{folder} was trained for no epoch: there is no training to show.")
    entry = ledger.entry("train")
    settings: dict[str, dict[str, Any]] = {"corpus": {"corpus": config.corpus, "seed": entry["seed"]}}
    unused = {f"model.{name}" for name in ("file", "labels", "layout", "input", "scaling", "front_end")}
    for key, value in entry["settings"].items():
        if key not in unused:
            section, _, name = key.partition(".")
            settings.setdefault(section, {})[name] = value
    settings["versions"] = ledger.record.get("versions", {})
    last = history[-1]
    facts = [(f"{entry['seconds']:.1f}", "s of training"), (str(len(history)), "epochs")]
    if (accuracy := last.get("val_accuracy")) is not None:
        facts.append((f"{accuracy:.3f}", "held-out accuracy"))
    return Training(f"How {root.name} was trained", history, load_npz(root / "model" / "filters.npz"), settings, facts)


def held_out_clips(corpus: Corpus, count: int) -> list[Clip]:
    """Return some held-out clips, of as many classes as there are: the same each time."""
    by_class: dict[str, list[Clip]] = {}
    for clip in corpus.split("test"):
        by_class.setdefault(clip.label, []).append(clip)
    labels = sorted(by_class)
    if count <= len(labels):
        places = np.linspace(0, len(labels) - 1, count).round().astype(int)
        return [_middle(by_class[labels[i]]) for i in places]
    most = max(map(len, by_class.values()))
    rounds = [by_class[label][k] for k in range(most) for label in labels if k < len(by_class[label])]
    return rounds[:count]


def _middle(clips: Sequence[Clip]) -> Clip:
    return clips[len(clips) // 2]
