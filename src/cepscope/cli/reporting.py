"""Pages and figures of anything: the command `report`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cepscope.cli import console
from cepscope.cli.places import is_run
from cepscope.cli.stages import run_stage

if TYPE_CHECKING:
    from cepscope.config import RunConfig
    from cepscope.pipeline.sheets import Recordings

LONGEST = 10.0  # s of a recording that methods are compared on: its middle


class Kind(StrEnum):
    """What a page shows."""

    units = "units"
    corpus = "corpus"
    training = "training"
    methods = "methods"
    clip = "clip"


class Format(StrEnum):
    """What figures are written as."""

    pdf = "pdf"
    svg = "svg"
    png = "png"


KINDS = {"run": (Kind.units, Kind.corpus, Kind.training, Kind.methods), "corpus": (Kind.corpus,), "clip": (Kind.clip,)}
NAMES = {"run": "a run", "corpus": "a corpus", "clip": "a sound file"}


def report(
    source: Annotated[
        str, typer.Argument(help="A run's folder, a corpus (a folder of recordings or a known name), or a sound file.")
    ],
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--kind",
            help="Of the page: a run's units, recordings, training, or methods of inversion; a corpus; a sound file.",
            show_default="seen from SOURCE: units, corpus, clip",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The .html to write; not of units.", show_default="RUN/report/KIND.html, else in reports/"
        ),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(
            "--clips", help="Shown: of a corpus each class's, of methods in all.", show_default="2, 4", min=1, max=40
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", help="Write what the page shows as figures for papers there instead."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Of the figures.")] = Format.pdf,
    dpi: Annotated[int, typer.Option("--dpi", help="Of the figures.", min=30, max=2400)] = 300,
    units: Annotated[
        list[str] | None, typer.Option("--unit", metavar="LAYER:INDEX", help="A figure of this unit too; repeatable.")
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            "--tensorboard", metavar="FOLDER", help="Write a run's event files for TensorBoard there instead."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Not for runs: settings in TOML.", dir_okay=False)
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; repeatable.")
    ] = None,
) -> None:
    """Write a page of a run, a corpus or a sound file; or figures for papers, or event files for TensorBoard.

    Event files can be of an unfinished run too. The page's path is the last line on stdout.
    """
    unfinished = tensorboard is not None and Path(source).is_dir()  # such a run may lack what it is known by
    what = "run" if unfinished else _seen(source)
    chosen = kind or KINDS[what][0]
    if chosen not in KINDS[what]:
        from cepscope.errors import ParameterError

        fit = ", ".join(one.value for one in KINDS[what])
        raise ParameterError(f"--kind {chosen.value} is not for {NAMES[what]}; kinds for {source} are: {fit}")
    wishes = Wishes(source, what, chosen, out, clips, figures, form, dpi, tuple(units or ()), config, tuple(set_ or ()))
    wishes.check(tensorboard)
    if chosen is Kind.units:
        _report_units(wishes, tensorboard)
        return
    for path in _WRITERS[chosen](wishes):
        typer.echo(str(path))


@dataclass(frozen=True)
class Wishes:
    """What was asked for."""

    source: str
    what: str
    kind: Kind
    out: Path | None
    clips: int | None
    figures: Path | None
    form: Format
    dpi: int
    units: tuple[str, ...]
    config: Path | None
    overrides: tuple[str, ...]

    def check(self, tensorboard: Path | None) -> None:
        """Raise ParameterError for what does not go together."""
        from cepscope.errors import ParameterError

        kind, written = self.kind.value, self.figures is not None or tensorboard is not None
        if self.units and self.figures is None:
            raise ParameterError(
                f"--unit is of figures; name their folder with --figures. Received: --unit {self.units[0]}"
            )
        if self.overrides and written and self.kind is Kind.units:
            raise ParameterError(f"--set goes with the page alone. Received: {self.overrides[0]}")
        unfit = {
            "--unit": bool(self.units) and self.kind is not Kind.units,
            "--tensorboard": tensorboard is not None and self.kind is not Kind.units,
            "--clips": self.clips is not None and self.kind not in (Kind.corpus, Kind.methods),
            "--set": bool(self.overrides) and self.kind is Kind.training,
            "--out": self.out is not None and self.kind is Kind.units,
            "--config": self.config is not None and self.what == "run",
        }
        if given := [name for name, said in unfit.items() if said]:
            raise ParameterError(f"{given[0]} does not go with the page of {kind} of {NAMES[self.what]}: {self.source}")
        if self.out is not None and written:
            raise ParameterError(f"--out is of a page, --figures are written instead of it. Received: --out {self.out}")
        if self.out is not None and self.out.suffix.lower() != ".html":
            raise ParameterError(f"--out must end in .html. Received: {self.out}")

    def settings(self) -> RunConfig:
        """Return the settings: those of the run, or those that were given."""
        from cepscope.config import load_config
        from cepscope.pipeline import stored_config

        if self.what == "run":
            return stored_config(self.source, overrides=self.overrides)
        corpus = {"corpus": self.source} if self.what == "corpus" else {}
        return load_config(self.config, overrides=self.overrides, flags=corpus)

    def page(self) -> Path:
        """Return where the page goes."""
        if self.out is not None:
            return self.out
        if self.what == "run":
            return Path(self.source) / "report" / f"{self.kind.value}.html"
        path = Path(self.source)
        name = path.stem if self.what == "clip" else path.resolve().name
        return Path("reports") / f"{name}-{self.kind.value}.html"

    def save(self, drawn: Any) -> list[Path]:
        """Write figures, which are drawn meanwhile."""
        from cepscope.report import save_figures

        assert self.figures is not None  # noqa: S101 (asked by who calls)
        return save_figures(drawn, self.figures, suffix=f".{self.form.value}", dpi=self.dpi)


def _seen(source: str) -> str:
    """Tell runs, corpora and sound files apart; DataError for what is none of them."""
    from cepscope.corpora.known import KNOWN
    from cepscope.corpora.layouts.rows import AUDIO_SUFFIXES
    from cepscope.corpora.loading import BUILT_IN
    from cepscope.errors import DataError

    path = Path(source)
    if path.is_dir():
        return "run" if is_run(path) else "corpus"
    if source in KNOWN or source == BUILT_IN:
        return "corpus"
    if path.is_file() and path.suffix.lower() in AUDIO_SUFFIXES:
        return "clip"
    known = ", ".join((BUILT_IN, *KNOWN))
    wrong = "is another kind of file" if path.is_file() else "does not exist"
    raise DataError(
        f"{source} {wrong}: report takes the folder of a run, a folder of recordings, a known corpus ({known}), or a "
        f"sound file ({' '.join(AUDIO_SUFFIXES)})."
    )


def _report_units(wishes: Wishes, tensorboard: Path | None) -> None:
    folder = Path(wishes.source)
    if wishes.figures is not None:
        from cepscope.pipeline import write_figures

        suffix = f".{wishes.form.value}"
        written = write_figures(folder, wishes.figures, suffix=suffix, dpi=wishes.dpi, units=wishes.units)
        typer.echo("\n".join(map(str, written)))
    if tensorboard is not None:
        from cepscope.report import write_tensorboard

        typer.echo(str(write_tensorboard(folder, tensorboard)))
    if not (wishes.figures or tensorboard):
        typer.echo(str(run_stage("report", folder, list(wishes.overrides)) / "report" / "index.html"))


def _corpus(wishes: Wishes) -> list[Path]:
    from cepscope.corpora.description import describe
    from cepscope.pipeline.sheets import recordings_of
    from cepscope.report import draw_corpus, write_corpus_page

    found = recordings_of(wishes.settings())
    with console.progress() as bars:
        description = describe(
            found.corpus, seed=found.seed, progress=lambda done, total: bars.update("describe", done, total)
        )
        shown: dict[str, Any] = {"clips": wishes.clips or 2, "progress": bars.update}
        if wishes.figures is not None:
            return wishes.save(draw_corpus(description, found.spec, **shown))
        return [write_corpus_page(wishes.page(), description, found.spec, **shown)]


def _training(wishes: Wishes) -> list[Path]:
    from cepscope.pipeline.sheets import training_of
    from cepscope.report import draw_training, write_training_page

    found = training_of(wishes.source)
    if wishes.figures is not None:
        return wishes.save(draw_training(found.history, found.filters))
    words: dict[str, Any] = {"title": found.title, "settings": found.settings, "facts": found.facts}
    return [write_training_page(wishes.page(), found.history, found.filters, **words)]


def _clip(wishes: Wishes) -> list[Path]:
    from cepscope.corpora.stretches import sound_rate
    from cepscope.report import draw_clip, read_recorded, write_clip_page

    path = Path(wishes.source)
    recorded = read_recorded(path, wishes.settings().features.spec(sound_rate(path)))
    if wishes.figures is not None:
        return wishes.save(draw_clip(recorded))
    return [write_clip_page(wishes.page(), recorded)]


def _methods(wishes: Wishes) -> list[Path]:
    from cepscope.cli import inverting
    from cepscope.pipeline.sheets import held_out_clips, recordings_of
    from cepscope.report import draw_methods, write_comparison

    settings = wishes.settings()
    found = recordings_of(settings)
    targets = [
        _target(found, clip, number) for number, clip in enumerate(held_out_clips(found.corpus, wishes.clips or 4))
    ]
    compare = inverting.Wishes(compare=True)
    samples = [len(one.recording) for one in targets]
    inverting.refuse_early(samples, [found.spec], settings, compare)
    methods = inverting.methods_for(settings, compare, found.spec)
    seconds = sum(samples) / found.spec.sr
    with console.progress() as bars:
        made = inverting.make_sounds(targets, methods, settings, seconds=seconds, count=len(targets), bars=bars)
        items = inverting.comparison_items(made)
    if wishes.figures is not None:
        return wishes.save(draw_methods(items))
    title = f"Held-out recordings of {Path(wishes.source).resolve().name}, from MFCC to sound"
    return [write_comparison(wishes.page(), items, title=title)]


def _target(found: Recordings, clip: Any, number: int) -> Any:
    from cepscope.cli.inverting import Target
    from cepscope.corpora.conditioning import conditioned
    from cepscope.corpora.stretches import read_stretch
    from cepscope.features import mfcc

    audio, rate = read_stretch(clip.path, clip.start, clip.stop, longest=LONGEST)
    recording = conditioned(audio, rate, found.spec.sr)
    name = found.corpus.relative(clip)
    return Target(name, clip.path, mfcc(recording, found.spec), found.spec, number=number, recording=recording)


_WRITERS: dict[Kind, Callable[[Wishes], list[Path]]] = {
    Kind.corpus: _corpus,
    Kind.training: _training,
    Kind.methods: _methods,
    Kind.clip: _clip,
}
