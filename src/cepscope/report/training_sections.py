"""What the page of a training shows, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.report import raster, wording
from cepscope.report.curves import MORE_PRETRAINING, draw_panel, history_panels
from cepscope.report.diagnosis import (
    LAYER_COLUMNS,
    MEANINGS,
    LayerDiagnosis,
    diagnose_classifier,
    diagnose_layers,
)
from cepscope.report.media import Media

MOST_FILTERS = 256  # of a layer that are shown

Section = dict[str, Any]


def training_sections(
    history: Sequence[Mapping[str, Any]],
    filters: Mapping[str, npt.ArrayLike],
    settings: Mapping[str, Any],
    media: Media,
) -> list[Section]:
    """Return the sections of a training's page."""
    kernels = {name: np.asarray(found) for name, found in filters.items()}
    layers = diagnose_layers(history, {name: len(found) for name, found in kernels.items()})
    doubts = [f"{layer.name}: {doubt}" for layer in layers for doubt in layer.doubts]
    doubts += [f"fine-tuning: {doubt}" for doubt in diagnose_classifier(history)]
    panels = history_panels(history, pretraining=MORE_PRETRAINING)
    sections: list[Section] = [
        {
            "id": "verdict",
            "title": "Is anything wrong?",
            "doubts": doubts,
            "missing": "" if doubts else "No filter is dead, saturated or redundant, and no held-out curve grows.",
            "summaries": _last(layers),
            "meanings": MEANINGS if layers else (),
        },
        {"id": "curves", "title": "Curves", "panels": [draw_panel(panel) for panel in panels]},
    ]
    if kernels:
        sections.append(_filters(kernels, media))
    if settings:
        tables = [(name, list(wording.flatten(own))) for name, own in settings.items()]
        sections.append({"id": "settings", "title": "Trained with", "tables": tables})
    return sections


def _last(layers: Sequence[LayerDiagnosis]) -> list[dict[str, Any]]:
    if not layers:
        return []
    shown = [column for column in LAYER_COLUMNS if any(layer.last.get(column[0]) not in (None, "") for layer in layers)]
    rows = [(layer.name, [wording.number(layer.last.get(key), digits) for key, _, digits in shown]) for layer in layers]
    head = ["layer", *(name for _, name, _ in shown)]
    return [{"caption": "After the last epoch of each layer", "head": head, "rows": rows}]


def _filters(kernels: Mapping[str, npt.NDArray[Any]], media: Media) -> Section:
    groups = []
    for name, found in kernels.items():
        _, height, width = found.shape
        limit = float(np.abs(found).max()) or 1.0
        pictures = [
            {
                "name": str(i),
                "picture": media.picture(raster.paint(kernel, -limit, limit)),
                "alt": f"Filter {i} of {name}, largest weight {np.abs(kernel).max():.3g}",
            }
            for i, kernel in enumerate(found[:MOST_FILTERS])
        ]
        more = f"; the first {MOST_FILTERS} are shown" if len(found) > MOST_FILTERS else ""
        size = f"{len(found)} filters of {height} coefficients by {width} frames, \u00b1{limit:.2g}{more}"
        groups.append({"name": name, "size": size, "pictures": pictures, "tall": height > width})
    lead = (
        "Coefficients upwards, frames to the right, zero in the middle of the colours; all of a layer on one scale. A "
        "filter of a higher layer is the sum of those below, each weighted by its kernel."
    )
    return {"id": "filters", "title": "Filters", "leads": [lead], "filters": groups}
