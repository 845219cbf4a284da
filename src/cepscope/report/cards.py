"""Units as the page's template takes them: words, numbers, places in percent, addresses of pictures.

Where a picture or a sound ends up is decided by one small object (`Embedded`), of which the template knows
nothing. A folder with lazy files, for pages of many hundred units, replaces that object and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from cepscope.audio import to_wav_bytes
from cepscope.report import raster, wording
from cepscope.report.content import Exemplar, ReportContent, UnitCard, View
from cepscope.report.curves import ticks

STRIP_LIMIT = 4.0  # of the strip's axis, in activations of the best real clip


class Media(Protocol):
    """Where pictures and sounds are kept, and the address under which a page finds them."""

    def picture(self, png: bytes) -> str:
        """Keep a PNG; return its address."""

    def sound(self, wav: bytes) -> str:
        """Keep a WAV; return its address."""


class Embedded:
    """Pictures and sounds inside the page."""

    def picture(self, png: bytes) -> str:
        """Return a PNG as a data URI."""
        return "data:image/png;base64," + base64.b64encode(png).decode()

    def sound(self, wav: bytes) -> str:
        """Return a WAV as a data URI."""
        return "data:audio/wav;base64," + base64.b64encode(wav).decode()


class Ids:
    """Names of places on the page: readable, and no two alike."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self.taken = set(reserved)

    def new(self, text: str) -> str:
        """Return a name made of `text` that no other place has, nor the places derived from one."""
        slug = base = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-") or "unit"
        count = 1
        while {slug, f"{slug}-name", f"{slug}-title"} & self.taken:
            count += 1
            slug = f"{base}-{count}"
        self.taken |= {slug, f"{slug}-name", f"{slug}-title"}
        return slug


class Clips:
    """The exemplars' sounds, each kept once however many units it excites."""

    def __init__(self, media: Media) -> None:
        self.media = media
        self.ids: dict[tuple[str, str], str] = {}
        self.addresses: dict[str, str] = {}

    def add(self, exemplar: Exemplar, sr: int) -> str:
        """Keep the sound of an exemplar unless it is kept already; return the clip's id."""
        wav = to_wav_bytes(exemplar.audio, sr)
        key = (exemplar.clip, hashlib.sha256(wav).hexdigest())
        if key not in self.ids:
            self.ids[key] = f"c{len(self.ids)}"
            self.addresses[self.ids[key]] = self.media.sound(wav)
        return self.ids[key]


def _share(value: float) -> float:
    return round(100 * value, 3)


def axis_ticks(high: float, count: int, *, up: bool = False) -> list[tuple[float, str]]:
    """Ticks from 0 to `high`: percent from the left, or from the top if the axis points up."""
    places = [(t / high if high > 0 else 0.0, f"{t:g}") for t in ticks(0, high, count)]
    return [(_share(1 - place if up else place), text) for place, text in places]


def _exemplar(exemplar: Exemplar, card: UnitCard, media: Media, clips: Clips) -> dict[str, Any]:
    return {
        "clip": clips.add(exemplar, card.sr),
        "name": exemplar.clip,
        "label": exemplar.label or exemplar.clip,
        "speaker": exemplar.speaker,
        "activation": wording.number(exemplar.activation),
        "picture": media.picture(raster.paint_pattern(exemplar.pattern)),
    }


def _view(view: View, card: UnitCard, media: Media) -> dict[str, Any]:
    name = wording.VIEWS[view.name][0]
    likeness, activation = wording.number(view.agreement), wording.number(view.activation)
    return {
        "name": name,
        "likeness": likeness,
        "activation": activation,
        "picture": media.picture(raster.paint_filter(view.picture)),
        "alt": f"{name} of {card.unit}: {' by '.join(map(str, view.picture.shape))}, likeness to the pattern "
        f"{likeness}, activation {activation}",
    }


def unit_view(card: UnitCard, content: ReportContent, ids: Ids, media: Media, clips: Clips) -> dict[str, Any]:
    """Return everything on a unit's card."""
    hop = content.spec.hop / content.spec.sr / 2
    decibels = raster.spectrogram_db(card.audio, card.sr, window=content.spec.win / content.spec.sr, hop=hop)
    words = [card.unit, card.layer, card.label]
    words += [word for e in card.exemplars for word in (e.label, e.speaker, e.clip)]
    heard = str(card.scores.get("sound_class") or "")
    return {
        "id": ids.new(card.unit),
        "name": card.unit,
        "label": card.label,
        "heard": heard,
        "right": card.scores.get("sound_right"),
        "doubts": card.doubts,
        "search": " ".join(filter(None, words)).lower(),
        "filter": media.picture(raster.paint_filter(card.filter)) if card.filter is not None else "",
        "filter_shape": " \N{MULTIPLICATION SIGN} ".join(map(str, card.filter.shape))
        if card.filter is not None
        else "",
        "spectrogram": media.picture(raster.paint_spectrogram(decibels)),
        "spectrogram_alt": wording.spectrogram_alt(card, decibels),
        "pattern": media.picture(raster.paint_pattern(card.pattern)),
        "pattern_alt": wording.pattern_alt(card, content.spec),
        "sound": media.sound(to_wav_bytes(card.audio, card.sr)),
        "seconds": len(card.audio) / card.sr,
        "hertz": axis_ticks(card.sr / 2, 4, up=True),
        "coefficients": [
            (_share(1 - (k + 0.5) / content.spec.n_mfcc), str(content.spec.orders[k]))
            for k in range(0, content.spec.n_mfcc, 5)
        ],
        "times": axis_ticks(len(card.audio) / card.sr, 4),
        "scores": [
            {
                "key": key,
                "name": name,
                "text": wording.number(card.score(key), digits),
                "sort": _sortable(card.score(key)),
            }
            for key, name, _, digits in wording.SCORES
        ],
        "sound_scores": [
            {"name": name, "text": wording.number(card.score(key), digits)}
            for key, name, _, digits in wording.SOUND_SCORES
        ],
        "exemplars": [_exemplar(exemplar, card, media, clips) for exemplar in card.exemplars],
        "views": [_view(view, card, media) for view in card.views],
    }


def _sortable(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _strip(units: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Place a layer's units along sound / natural, stacked where they would overlap."""
    stacks: dict[int, int] = {}
    dots = []
    for unit in units:
        value = next(score["sort"] for score in unit["scores"] if score["key"] == "sound_over_natural")
        if value:
            place = min(max(float(value), 0.0), STRIP_LIMIT) / STRIP_LIMIT
            level = stacks.get(round(place * 80), 0)
            stacks[round(place * 80)] = level + 1
            offset = (level + 1) // 2 * (1 if level % 2 else -1)  # 0, 1, -1, 2, -2 ... around the middle
            dots.append(
                {
                    "x": _share(place),
                    "y": 50 + max(-4, min(4, offset)) * 10,
                    "unit": unit,
                    "value": float(value),
                }
            )
    return dots


def layer_view(name: str, units: list[dict[str, Any]], medians: Mapping[str, Any], anchor: str) -> dict[str, Any]:
    """Return everything on a layer: its medians, the dots of the overview, its cards."""
    return {
        "name": name,
        "id": anchor,
        "units": units,
        "dots": _strip(units),
        "doubtful": sum(bool(unit["doubts"]) for unit in units),
        "medians": [wording.number(medians.get(key), digits) for key, _, _, digits in wording.SCORES],
        "sound_scores": [
            {"name": name, "meaning": meaning, "median": wording.number(medians.get(key), digits)}
            for key, name, meaning, digits in wording.SOUND_SCORES
        ],
    }
