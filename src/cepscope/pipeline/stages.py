"""The stages of a run: what each reads, does and writes.

Each takes the run's context and gives the files that it wrote. TensorFlow is loaded by `train`, `maximize` and `probe`
only.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cepscope.atomic import load_json, load_npz, save_npz, write_text
from cepscope.audio import read_audio
from cepscope.config import RunConfig
from cepscope.corpora import Corpus, Patches, load_corpus
from cepscope.corpora.extract import write_features
from cepscope.corpora.manifest import read_manifest
from cepscope.corpora.stretches import sound_rate
from cepscope.errors import DataError
from cepscope.pipeline.foreign import read_source, relabelled, run_import
from cepscope.pipeline.ledger import Ledger
from cepscope.pipeline.parts import PROBE
from cepscope.workers import Share, Workers

if TYPE_CHECKING:
    from cepscope.maximize.maximization import Maximization
    from cepscope.maximize.viewing import ViewFinder
    from cepscope.probe.measures import Meter
    from cepscope.probe.yardstick import Yardstick
    from cepscope.report import ReportContent

SNAPSHOTS = "snapshots"  # of the training, in the folder of the network

Progress = Callable[[str, int, int], None]  # what is being done, parts done, parts in all


@dataclass
class Context:
    """One run: where it lives, its settings, and what its stages share in memory."""

    folder: Path
    config: RunConfig
    ledger: Ledger
    progress: Progress = field(default=lambda _what, _done, _total: None)
    say: Callable[[str], None] = field(default=lambda _line: None)
    epoch: Callable[[dict[str, Any]], None] = field(default=lambda _row: None)
    workers: Workers = field(default_factory=Workers)
    share: Share | None = None  # of a stage's pieces, in a job that does no more than these
    key: str = ""  # of all that decides what comes of the stage in work

    @cached_property
    def corpus(self) -> Corpus:
        """The recordings."""
        return load_corpus(self.config.corpus, **self.config.reading())

    @cached_property
    def patches(self) -> Patches:
        """The patches of the extract stage."""
        return Patches.load(self.folder / "features")

    @cached_property
    def heard(self) -> Patches:
        """The patches with the classes that the network knows, which of a network of others may be other ones."""
        source = read_source(self.folder) if self.config.model.file else {}
        return relabelled(self.patches, source["labels"]) if source else self.patches

    @cached_property
    def model(self) -> Any:
        """The network of the train stage."""
        from cepscope.models import load_model

        return load_model(self.folder / "model" / "model.keras")

    @cached_property
    def maximization(self) -> Maximization:
        """The search of the maximize stage, in batches."""
        from cepscope.maximize.maximization import Maximization
        from cepscope.maximize.transforms import Transforms

        settings = self.config.maximize.model_dump()
        settings["transforms"] = Transforms(**settings["transforms"])
        return Maximization(model=self.model, patches=self.heard, **settings, seed=self.config.seed)

    @cached_property
    def patterns(self) -> Any:
        """The patterns of the maximize stage."""
        from cepscope.maximize.patterns import Patterns

        return Patterns.load(self.folder / "patterns" / "patterns.npz")

    @cached_property
    def sound_names(self) -> list[str]:
        """Files of the patterns' sounds."""
        from cepscope.invert.sounds import wav_names

        return wav_names(self.patterns.names)

    @cached_property
    def yardstick(self) -> Yardstick:
        """What patterns and sounds are measured against; of all processes the first measures it."""
        from cepscope.probe.yardstick import Yardstick, fit_yardstick

        path = self.folder / "patterns" / PROBE / "yardstick.npz"
        found = Yardstick.load(path, self.key)
        if found is None:
            some = self.config.report.exemplars
            found = fit_yardstick(self.model, self.heard, self.patterns, exemplars=some, seed=self.config.seed)
            found.save(path, self.key)
        return found

    @cached_property
    def meter(self) -> Meter:
        """What measures patterns and their sounds."""
        from cepscope.probe.measures import Meter

        return Meter(self.model, self.heard, self.patterns, self.yardstick)

    @cached_property
    def views(self) -> ViewFinder:
        """What finds other ways to show units."""
        from cepscope.maximize.viewing import ViewFinder

        return ViewFinder(self.model, self.heard, self.patterns, seed=self.config.seed)

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return a progress callback of one piece of work."""
        return lambda done, total: self.progress(what, done, total)


def corpus_rate(corpus: Corpus) -> int:
    """Return the sampling rate in Hz of the corpus's first readable clip."""
    for clip in corpus.clips:
        try:
            return sound_rate(clip.path)
        except DataError:
            continue
    raise DataError(f"No clip of {corpus.root} can be read; expected WAV, FLAC, Ogg or MP3.")


def run_extract(context: Context) -> list[Path]:
    """Recordings to patches."""
    config, folder = context.config, context.folder / "features"
    manifest = write_features(
        context.corpus,
        folder,
        config.features.spec(corpus_rate(context.corpus)),
        frames=config.features.frames,
        whiten=config.features.whiten,
        strict=config.strict,
        workers=context.workers,
        share=context.share,
        progress=context.counter("extract"),
    )
    context.__dict__.pop("patches", None)
    return [folder / name for name in manifest.files] if manifest else []


def run_train(context: Context) -> list[Path]:
    """Patches to network; a network of others is taken as it is."""
    if context.config.model.file:
        return run_import(context)
    from cepscope.models import build_cdbn, fit_classifier, model_filters, pretrain, save_model
    from cepscope.models.cluster import this_worker
    from cepscope.models.parallel import scope_of, training_strategy
    from cepscope.models.snapshots import PRETRAINED, UNTRAINED, Snapshots

    config, patches, folder = context.config, context.patches, context.folder / "model"
    strategy, writes = training_strategy(), this_worker().is_chief
    with scope_of(strategy):
        model = build_cdbn(patches.input_shape, patches.classes, **config.model.network(), seed=config.seed)
    settings = config.train
    rows: list[dict[str, Any]] = []

    def report(layer: str, epoch: int, epochs: int, row: dict[str, Any]) -> None:
        context.progress(f"train: {layer}", epoch, epochs)
        context.epoch(row)

    kept = folder / "checkpoints"  # of a training that is killed; it goes on from there
    taken = Snapshots(model, folder / SNAPSHOTS) if settings.snapshots and writes else None
    if taken:
        taken.keep(UNTRAINED)
    both: dict[str, Any] = {"batch_size": settings.batch_size, "seed": config.seed, "progress": report}
    if settings.pretrain:
        same = ["k", "persistent", "fast_learning_rate", "sparsity", "sparsity_cost", "sparsity_kind", "weight_decay"]
        same += ["learn_scales", "initial_biases", "patience"]
        rows += pretrain(
            model,
            patches,
            epochs=settings.pretrain_epochs,
            learning_rate=settings.pretrain_learning_rate,
            checkpoint=kept / "pretraining.npz",
            **{name: getattr(settings, name) for name in same},
            **both,
        )
        if taken:
            taken.keep(PRETRAINED)
    tuned = fit_classifier(
        model,
        patches,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        label_smoothing=settings.label_smoothing,
        shift=settings.shift,
        frozen=settings.frozen,
        mixed_precision=settings.mixed_precision,
        # one of a training with snapshots has all of them
        checkpoint=kept / ("fine-tuning-with-snapshots.npz" if settings.snapshots else "fine-tuning.npz"),
        callbacks=[taken.callback()] if taken else (),
        **both,
    )
    if not writes:
        return []
    rows += tuned
    paths = [folder / name for name in ("model.keras", "history.csv", "filters.npz")]
    save_model(model, paths[0])
    write_text(paths[1], _history_csv(rows))
    save_npz(paths[2], **model_filters(model))
    shutil.rmtree(kept, ignore_errors=True)
    if taken:
        paths += taken.finish(len(tuned))
    else:
        shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
    if strategy is None:  # one that belongs to several devices is read back as one that does not
        context.__dict__["model"] = model
    return paths


@dataclass(frozen=True)
class StoredSounds:
    """The sounds of the invert stage, read back from its wavs, and their scores."""

    audio: np.ndarray[Any, Any]
    sr: int
    relative_error: np.ndarray[Any, Any]
    scores: list[dict[str, Any]]


def stored_sounds(context: Context) -> StoredSounds:
    """Read the sounds of a run, in the order of its patterns."""
    from cepscope.invert.scores import load_sound_rows
    from cepscope.invert.sounds import stored_files

    folder = context.folder / "audio"
    table = load_npz(folder / "sounds.npz")
    audio = [read_audio(path)[0] for path in stored_files(folder)]
    rows = load_sound_rows(folder / "sounds.csv")
    return StoredSounds(np.stack(audio), context.patterns.spec.sr, table["relative_error"], rows)


def run_report(context: Context) -> list[Path]:
    """Everything to one page."""
    from cepscope.report import write_page
    from cepscope.report.page import MEDIA

    folder = context.folder / "report"
    return [write_page(report_content(context), folder), *sorted((folder / MEDIA).glob("*.*"))]


def report_content(context: Context) -> ReportContent:
    """Read everything that the page shows."""
    from cepscope.maximize.views import Views
    from cepscope.probe import load_unit_rows
    from cepscope.report.assemble import assemble

    folder = context.folder
    rows = load_unit_rows(folder / "patterns" / "units.csv")
    chosen = load_npz(folder / "patterns" / "exemplars.npz")
    index, activation = chosen["index"], chosen["activation"]
    waves = {int(i): read_audio(folder / "audio" / "exemplars" / f"{i:05d}.wav")[0] for i in np.unique(index)}
    manifest = read_manifest(folder / "features")
    config = context.config
    stages = context.ledger.record["stages"]
    source = read_source(folder) if config.model.file else {}
    patches, whose = context.patches, f"a network trained on {context.patches.corpus_name}"
    unused: dict[str, Any] = {}
    if source:
        patches = replace(patches, corpus_name=f"other recordings, and shown {patches.corpus_name}")
        unused, whose = {"train": True, "model": set(config.model.network())}, Path(source["file"]).stem
    return assemble(
        patches=patches,
        patterns=context.patterns,
        audio=stored_sounds(context).audio,
        rows=rows,
        summary=load_json(folder / "patterns" / "summary.json"),
        exemplars=index,
        exemplar_activations=activation,
        exemplar_waves=waves,
        views=Views.load(folder / "patterns" / "views.npz"),
        filters=load_npz(folder / "model" / "filters.npz"),
        history=[] if source else read_history(folder / "model" / "history.csv"),
        title=config.report.title or f"What {whose} listens for",
        synthetic=manifest.synthetic,
        note=manifest.note,
        run={
            **({"network": source} if source else {}),
            "settings": json.loads(config.model_dump_json(exclude=unused)),
            "versions": context.ledger.record.get("versions", {}),
            "sha256": {
                name: digest
                for stage in stages
                if stage in ("train", "maximize")
                for name, digest in stages[stage]["outputs"].items()
            },
        },
    )


def _history_csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return out.getvalue()


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read training curves; what a row does not have is left out of it."""
    words = ("stage", "layer")
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {
                name: value if name in words else int(value) if name == "epoch" else float(value)
                for name, value in row.items()
                if value
            }
            for row in csv.DictReader(file)
        ]
