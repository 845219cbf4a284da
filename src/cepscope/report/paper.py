"""What a page shows, as figures for papers."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from cepscope.errors import ParameterError
from cepscope.report.content import ReportContent, UnitCard
from cepscope.report.plots import plot_history, plot_layer, plot_unit


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
