"""What pages show, as figures for papers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure

from cepscope.corpora.description import Description
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec
from cepscope.invert.sounds import file_name
from cepscope.report.comparison_rows import ComparisonItem
from cepscope.report.content import ReportContent, UnitCard
from cepscope.report.corpora import plot_corpus
from cepscope.report.corpus_sections import clip_sounding
from cepscope.report.curves import MORE_PRETRAINING
from cepscope.report.figures import save_figure
from cepscope.report.plots import plot_filters, plot_history, plot_layer, plot_unit
from cepscope.report.recorded import Recorded
from cepscope.report.sheet_plots import plot_methods, plot_sounding, plot_spectra
from cepscope.report.spectra import long_term_spectra
from cepscope.report.typical import typical_clips

Drawn = Iterable[tuple[str, Figure]]


def save_figures(drawn: Drawn, folder: str | Path, *, suffix: str = ".pdf", dpi: float = 300) -> list[Path]:
    """Write figures, each under its name; those of the same names are replaced.

    Parameters
    ----------
    drawn : iterable of (str, Figure)
        From one of the functions below; each is drawn when it is its turn.
    folder : path
    suffix : {".pdf", ".svg", ".png"}
    dpi : float

    Returns
    -------
    list of Path
    """
    return [save_figure(figure, Path(folder) / f"{file_name(name)}{suffix}", dpi=dpi) for name, figure in drawn]


def draw_report(content: ReportContent, *, units: Sequence[str] = ()) -> Iterator[tuple[str, Figure]]:
    """Draw training curves, the patterns of each layer, and single units.

    Parameters
    ----------
    content : ReportContent
    units : sequence of str
        Of these the sound's spectrogram and the pattern, large.

    Returns
    -------
    iterator of (str, Figure)
        ``training`` (of networks that were trained here), ``layer-NAME`` and ``unit-LAYER:INDEX``.

    Raises
    ------
    ParameterError
        If there is no such unit; before anything is drawn.
    """
    cards = {card.unit: card for card in content.units}
    for name in units:
        if name not in cards:
            near = difflib.get_close_matches(name, cards, n=1)
            hint = near[0] if near else next(iter(cards))
            raise ParameterError(f"There is no unit {name!r} among {len(cards)}; nearest: {hint}")
    return _drawn(content, [cards[name] for name in dict.fromkeys(units)])


def _drawn(content: ReportContent, chosen: list[UnitCard]) -> Iterator[tuple[str, Figure]]:
    if content.history:
        yield "training", plot_history(content.history)
    for name, cards in content.layers.items():
        yield f"layer-{name}", plot_layer(cards, content.spec)
    for card in chosen:
        yield f"unit-{card.unit}", plot_unit(card, content.spec)


def draw_corpus(
    description: Description,
    spec: MfccSpec,
    *,
    clips: int = 2,
    progress: Callable[[str, int, int], object] | None = None,
) -> Iterator[tuple[str, Figure]]:
    """Draw a corpus: its distributions, long-term average spectra, and typical clips of each class.

    Parameters
    ----------
    description, spec, clips, progress
        As of `cepscope.report.write_corpus_page`.

    Returns
    -------
    iterator of (str, Figure)
        ``corpus``, ``spectra`` and ``clip-CLASS-NAME``.
    """
    tell = progress or (lambda _what, _done, _total: None)
    yield "corpus", plot_corpus(description)
    spectra = long_term_spectra(description, spec.sr, progress=lambda done, total: tell("spectra", done, total))
    yield "spectra", plot_spectra(spectra)
    chosen = typical_clips(description, clips).classes
    for done, (label, pairs) in enumerate(chosen.items(), start=1):
        for clip, _ in pairs:
            if sounding := clip_sounding(clip, spec):
                yield f"clip-{label}-{description.corpus.relative(clip)}", plot_sounding(sounding, short=True)
        tell("clips", done, len(chosen))


def draw_training(
    history: Sequence[Mapping[str, Any]], filters: Mapping[str, npt.ArrayLike]
) -> Iterator[tuple[str, Figure]]:
    """Draw a training: its curves, and the filters of each layer.

    Parameters
    ----------
    history, filters
        As of `cepscope.report.write_training_page`.

    Returns
    -------
    iterator of (str, Figure)
        ``training`` and ``filters-LAYER``.
    """
    yield "training", plot_history(history, pretraining=MORE_PRETRAINING)
    for name, kernels in filters.items():
        yield f"filters-{name}", plot_filters(kernels, title=f"Filters of {name}")


def draw_clip(recorded: Recorded) -> Iterator[tuple[str, Figure]]:
    """Draw a recording over time.

    Parameters
    ----------
    recorded : Recorded
        From `cepscope.report.read_recorded`.

    Returns
    -------
    iterator of (str, Figure)
        ``clip-NAME``.
    """
    yield f"clip-{Path(recorded.sounding.name).stem}", plot_sounding(recorded.sounding)


def draw_methods(items: Iterable[ComparisonItem]) -> Iterator[tuple[str, Figure]]:
    """Draw what methods of inversion make of recordings or patterns.

    Parameters
    ----------
    items : iterable of ComparisonItem

    Returns
    -------
    iterator of (str, Figure)
        ``methods-NAME``.
    """
    for item in items:
        yield f"methods-{item.name}", plot_methods(item)
