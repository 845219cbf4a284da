"""Gather what a page shows, from a run's files or from objects in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.maximize.views import VIEWS, Views
from cepscope.probe.agreement import agreement
from cepscope.report.content import Exemplar, ReportContent, UnitCard, View
from cepscope.report.page import write_page


def assemble(
    *,
    patches: Patches,
    patterns: Any,
    audio: npt.ArrayLike,
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    exemplars: npt.NDArray[np.intp],
    exemplar_activations: npt.NDArray[np.float32],
    exemplar_waves: Mapping[int, npt.NDArray[np.float32]],
    filters: Mapping[str, npt.NDArray[np.float32]],
    title: str,
    views: Views | None = None,
    history: list[dict[str, Any]] | None = None,
    synthetic: bool = False,
    note: str = "",
    run: Mapping[str, Any] | None = None,
) -> ReportContent:
    """Put everything about every unit on its card.

    Parameters
    ----------
    patches : Patches
    patterns : Patterns
    audio : array [shape=(n, samples)]
        One sound a pattern.
    rows : sequence of mapping
        Scores of the units, in the patterns' order, as `UnitScores.rows`.
    summary : mapping
        As `UnitScores.summary()`.
    exemplars, exemplar_activations : array [shape=(n, k)]
        Best held-out clips of each unit, by place in the test split.
    exemplar_waves : mapping of int to array [shape=(samples,)]
        Their audio.
    filters : mapping of str to array [shape=(filters, height, width)]
        Pictures of the filters, by layer.
    title : str
    views : Views, optional
        Other ways to show the units.
    history : list of dict, optional
        Training curves.
    synthetic : bool
        Whether the corpus is spoken by machines.
    note : str
        About the corpus.
    run : mapping, optional
        Settings and provenance.
    """
    test, sr = patches.test, patches.spec.sr
    shown_as = _views(views, patches) if views is not None else {}
    cards = []
    for i, (row, sound) in enumerate(zip(rows, np.asarray(audio), strict=True)):
        pictures = filters.get(row["layer"])
        tile = pictures[row["index"]] if pictures is not None and row["index"] >= 0 else None
        if tile is not None and len(tile) == patches.spec.n_mfcc:
            tile = patches.scaler.in_deviations(tile)  # a filter over principal components shows nothing by itself
        shown = tuple(
            Exemplar(
                clip=test.paths[j],
                label=patches.classes[int(test.y[j])],
                speaker=test.speakers[j],
                activation=_share(float(activation), row),
                pattern=patches.scaler.in_deviations(test.x[j, :, :, 0]),
                audio=exemplar_waves[int(j)],
            )
            for j, activation in zip(exemplars[i], exemplar_activations[i], strict=True)
        )
        cards.append(
            UnitCard(
                unit=row["unit"],
                layer=row["layer"],
                index=row["index"],
                label=row["label"],
                filter=tile,
                pattern=patches.scaler.in_deviations(patterns.x[i, :, :, 0]),
                mfcc=patterns.mfcc[i],
                audio=sound,
                sr=sr,
                scores=row,
                exemplars=shown,
                views=shown_as.get(row["unit"], ()),
            )
        )
    speakers = {speaker for split in (patches.train, test) for speaker in split.speakers if speaker}
    corpus = {
        "name": patches.corpus_name,
        "clips": len(patches.train) + len(test),
        "classes": list(patches.classes),
        "speakers": len(speakers),
        "synthetic": synthetic,
        "note": note,
        "skipped": list(patches.skipped),
    }
    rows_of_history = [dict(row) for row in history or []]
    return ReportContent(
        title=title,
        run=run or {},
        corpus=corpus,
        spec=patches.spec,
        frames=patches.frames,
        units=tuple(cards),
        history=rows_of_history,
        summary=summary,
    )


def _views(views: Views, patches: Patches) -> dict[str, tuple[View, ...]]:
    """Return each unit's views but the exemplars, as far as it has them."""
    likeness = agreement(views)[:, 0]
    found = {}
    for i, unit in enumerate(views.units):
        own = []
        for view, name in enumerate(VIEWS):
            if np.isfinite(likeness[i, view]):
                top, bottom, start, stop = views.fields[i, view]
                whole = patches.scaler.in_deviations(views.x[i, view])
                picture = whole[:, start:stop] if bottom - top == views.x.shape[2] else whole[top:bottom, start:stop]
                own.append(View(name, picture, float(likeness[i, view]), float(views.activation[i, view])))
        found[unit] = tuple(own)
    return found


def _share(activation: float, row: Mapping[str, Any]) -> float:
    """Count an activation from the mean of real clips, in units of the best of them."""
    above = row["natural_max"] - row["natural_mean"]
    return (activation - row["natural_mean"]) / above if above > 0 else 0.0


def write_report(
    folder: str | Path,
    model: Any,
    patches: Patches,
    patterns: Any,
    sounds: Any,
    *,
    scores: Any | None = None,
    views: Views | None = None,
    history: list[dict[str, Any]] | None = None,
    title: str = "",
    exemplars: int = 3,
    seed: int = 0,
) -> Path:
    """Score every unit and write the page.

    Parameters
    ----------
    folder : path
        Gets ``index.html``.
    model : keras.Model
    patches : Patches
    patterns : Patterns
    sounds : Sounds
    scores : UnitScores, optional
        If they were measured already.
    views : Views, optional
        If they were found already.
    history : list of dict, optional
        Rows of `pretrain` and `fit_classifier`.
    title : str
    exemplars : int
        Real clips shown for each unit.
    seed : int
        Of the scores.

    Returns
    -------
    Path
        Of the page.
    """
    from cepscope.maximize.viewing import find_views
    from cepscope.models.filters import model_filters
    from cepscope.probe import score_units

    scores = scores or score_units(model, patches, patterns, sounds, exemplars=exemplars, seed=seed)
    waves = {int(i): patches.load_wave(patches.test.paths[i]) for i in np.unique(scores.exemplars)}
    content = assemble(
        patches=patches,
        patterns=patterns,
        audio=sounds.audio,
        rows=scores.rows,
        summary=scores.summary(),
        exemplars=scores.exemplars,
        exemplar_activations=scores.exemplar_activations,
        exemplar_waves=waves,
        filters=model_filters(model),
        views=views or find_views(model, patches, patterns, seed=seed),
        title=title or f"What a network trained on {patches.corpus_name} listens for",
        history=history,
        synthetic=patches.corpus_name == "spoken-digits",
        run={"maximize": patterns.settings, "invert": {"method": sounds.method, "seed": sounds.seed}},
    )
    return write_page(content, Path(folder))
