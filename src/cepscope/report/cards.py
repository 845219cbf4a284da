"""Units as the page's template takes them: words, numbers, places in percent, addresses of pictures and sounds."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cepscope.report import overview, raster, wording
from cepscope.report.content import Exemplar, ReportContent, UnitCard, View
from cepscope.report.media import Ids, Media, Voice
from cepscope.report.overview import axis_ticks, share


class Clips:
    """The exemplars' sounds and pictures, each kept once however many units they excite."""

    def __init__(self, media: Media, voice: Voice) -> None:
        self.media, self.voice = media, voice
        self.ids: dict[tuple[str, str], str] = {}
        self.addresses: dict[str, str] = {}

    def add(self, exemplar: Exemplar, sr: int) -> str:
        """Keep the sound of an exemplar unless it is kept already; return the clip's id."""
        key = (exemplar.clip, hashlib.sha256(exemplar.audio.tobytes()).hexdigest())
        if key not in self.ids:
            clip = self.ids[key] = f"c{len(self.ids)}"
            self.addresses[clip] = self.media.sound(self.voice.wav(exemplar.audio, sr, exemplar.clip), clip)
        return self.ids[key]


@dataclass(frozen=True)
class Desk:
    """What all cards of a page share: where things are kept, names already given, the ends of the colours."""

    content: ReportContent
    media: Media
    ids: Ids
    voice: Voice
    clips: Clips
    ends: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, content: ReportContent, media: Media, ids: Ids) -> Desk:
        """Return the desk of a page."""
        voice = Voice(content)
        return cls(content, media, ids, voice, Clips(media, voice), overview.limits(content))


def _exemplar(exemplar: Exemplar, card: UnitCard, desk: Desk) -> dict[str, Any]:
    clip, spec = desk.clips.add(exemplar, card.sr), desk.content.spec
    frame = spec.hop / spec.sr
    cut = spec.frames_of(len(exemplar.audio)) - desk.content.frames  # a patch is the middle of its clip, or pads it
    begin = cut // 2 if cut >= 0 else -(-cut // 2)
    return {
        "clip": clip,
        "name": exemplar.clip,
        "label": exemplar.label or exemplar.clip,
        "speaker": exemplar.speaker,
        "activation": wording.number(exemplar.activation),
        "picture": desk.media.picture(raster.paint_pattern(exemplar.pattern), clip),
        "begin": f"{(begin - 0.5) * frame:.4f}",  # a frame is centred at its time
        "length": f"{desk.content.frames * frame:.4f}",
    }


def _view(view: View, card: UnitCard, place: str, media: Media) -> dict[str, Any]:
    name = wording.VIEWS[view.name][0]
    likeness, activation = wording.number(view.agreement), wording.number(view.activation)
    return {
        "name": name,
        "likeness": likeness,
        "activation": activation,
        "picture": media.picture(raster.paint_filter(view.picture), f"{place}-{view.name}"),
        "alt": f"{name} of {card.unit}: {' by '.join(map(str, view.picture.shape))}, likeness to the pattern "
        f"{likeness}, activation {activation}",
    }


def unit_arrays(card: UnitCard, content: ReportContent) -> bytes:
    """Return a unit's pattern as an npz that ``cepscope invert`` reads: ``mfcc`` and their front end."""
    out = io.BytesIO()
    np.savez_compressed(out, mfcc=card.mfcc, spec=np.array(json.dumps(content.spec.to_dict())))
    return out.getvalue()


def unit_view(card: UnitCard, desk: Desk) -> dict[str, Any]:
    """Return everything on a unit's card."""
    content, media = desk.content, desk.media
    place = desk.ids.new(card.unit)
    hop = content.spec.hop / content.spec.sr / 2
    decibels = raster.spectrogram_db(card.audio, card.sr, window=content.spec.win / content.spec.sr, hop=hop)
    words = [card.unit, card.layer, card.label]
    words += [word for e in card.exemplars for word in (e.label, e.speaker, e.clip)]
    return {
        "id": place,
        "name": card.unit,
        "label": card.label,
        "heard": str(card.scores.get("sound_class") or ""),
        "right": card.scores.get("sound_right"),
        "doubts": card.doubts,
        "search": " ".join(filter(None, words)).lower(),
        "filter": media.picture(raster.paint_filter(card.filter), f"{place}-filter") if card.filter is not None else "",
        "filter_shape": " \N{MULTIPLICATION SIGN} ".join(map(str, card.filter.shape))
        if card.filter is not None
        else "",
        "spectrogram": media.picture(raster.paint_spectrogram(decibels), f"{place}-spectrogram"),
        "spectrogram_alt": wording.spectrogram_alt(card, decibels),
        "pattern": media.picture(raster.paint_pattern(card.pattern), f"{place}-pattern"),
        "pattern_alt": wording.pattern_alt(card, content.spec),
        "sound": media.sound(desk.voice.wav(card.audio, card.sr, card.unit), f"{place}-sound"),
        "arrays": media.arrays(unit_arrays(card, content), f"{place}-mfcc"),
        "seconds": len(card.audio) / card.sr,
        "hertz": axis_ticks(card.sr / 2, 4, up=True),
        "coefficients": [
            (share(1 - (k + 0.5) / content.spec.n_mfcc), str(content.spec.orders[k]))
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
        "colours": overview.colours(card, desk.ends),
        "sound_scores": [
            {"name": name, "text": wording.number(card.score(key), digits)}
            for key, name, _, digits in wording.SOUND_SCORES
        ],
        "exemplars": [_exemplar(exemplar, card, desk) for exemplar in card.exemplars],
        "views": [_view(view, card, place, media) for view in card.views],
    }


def _sortable(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def layer_view(name: str, units: list[dict[str, Any]], medians: Mapping[str, Any], anchor: str) -> dict[str, Any]:
    """Return everything on a layer: its medians, the dots of the overview, its cards."""
    return {
        "name": name,
        "id": anchor,
        "units": units,
        "dots": overview.strip(units),
        "doubtful": sum(bool(unit["doubts"]) for unit in units),
        "medians": [wording.number(medians.get(key), digits) for key, _, _, digits in wording.SCORES],
        "sound_scores": [
            {"name": name, "meaning": meaning, "median": wording.number(medians.get(key), digits)}
            for key, name, meaning, digits in wording.SOUND_SCORES
        ],
    }
