"""What the page of a corpus shows, section by section."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cepscope.corpora.corpus import Clip
from cepscope.corpora.description import Description
from cepscope.corpora.stretches import read_stretch, stretch_name
from cepscope.corpora.survey import ClipFacts
from cepscope.errors import DataError
from cepscope.features import MfccSpec
from cepscope.features.framing import check_length
from cepscope.report import wording
from cepscope.report.distributions import class_sizes, lengths, levels, offsets
from cepscope.report.drawn import distribution_view, spectrum_panels
from cepscope.report.lanes import sounding_view
from cepscope.report.media import Ids, Media
from cepscope.report.sounding import Sounding
from cepscope.report.spectra import Spectra, long_term_spectra
from cepscope.report.typical import Typical, typical_clips

LONGEST = 8.0  # s of a clip that is shown: its middle
CLIP_LANES = ("waveform", "log-mel", "mfcc")
QUANTILES = ("min", "q05", "median", "q95", "max")

Section = dict[str, Any]
Progress = Callable[[str, int, int], object]


def corpus_sections(
    description: Description,
    spec: MfccSpec,
    *,
    clips: int,
    media: Media,
    ids: Ids,
    progress: Progress | None = None,
) -> list[Section]:
    """Return the sections of a corpus's page."""
    tell = progress or (lambda _what, _done, _total: None)
    spectra = long_term_spectra(description, spec.sr, progress=lambda done, total: tell("spectra", done, total))
    return [
        _warnings(description),
        _numbers(description),
        {
            "id": "distributions",
            "title": "Distributions",
            "distributions": [
                distribution_view(measure(description)) for measure in (class_sizes, lengths, levels, offsets)
            ],
        },
        _spectra(spectra),
        _clips(typical_clips(description, clips), spec, media, ids, tell),
    ]


def _warnings(description: Description) -> Section:
    lines = description.warnings()
    return {
        "id": "look",
        "title": "Look at this before training",
        "doubts": lines,
        "missing": "" if lines else "Nothing was found that should be looked at before training.",
    }


def _numbers(description: Description) -> Section:
    found = description.to_dict()
    sides = [
        (name, [str(side["clips"]), f"{side['seconds'] / 60:.1f}", str(side["classes"]), str(side["speakers"] or "–")])
        for name, side in found["splits"].items()
    ]
    measures = (
        ("length", "seconds", "s", 2),
        ("level", "level", "dB", 1),
        ("peak", "peak", "dB", 1),
        ("DC", "offset", "full scale", 4),
    )
    ranges = [
        (f"{name} [{unit}]", [wording.number(found[key][at], digits) for at in QUANTILES])
        for name, key, unit, digits in measures
    ]
    tables = [
        {"caption": "Splits", "head": ["split", "clips", "minutes", "classes", "speakers"], "rows": sides},
        {
            "caption": "Over the clips that can be read",
            "head": ["", "least", "5 %", "median", "95 %", "most"],
            "rows": ranges,
        },
    ]
    probes = [
        (f"the {what}", [f"{probe['accuracy']:.0%}", f"{probe['chance']:.0%}", "yes" if probe["tells"] else "no"])
        for what, probe in found["level_and_offset_tell"].items()
        if probe
    ]
    if probes:
        head = ["level and DC alone tell", "right", "chance", "gives it away"]
        tables.append({"caption": "What gives labels away", "head": head, "rows": probes})
    files = [(f"{rate} Hz", [str(count)]) for rate, count in found["rates"].items()]
    files += [
        ("mono" if channels == "1" else f"{channels} channels", [str(n)]) for channels, n in found["channels"].items()
    ]
    tables.append({"caption": "Files", "head": ["kind", "clips"], "rows": files})
    return {"id": "numbers", "title": "In numbers", "summaries": tables}


def _spectra(spectra: Spectra) -> Section:
    many = "classes" if spectra.of == "class" else "speakers"
    lead = (
        f"Mean power density of at most {spectra.clips} clips of each {spectra.of}, each brought to a power of 1, so "
        f"that the level plays no part. Dashed: the mean of the {many} shown."
    )
    if spectra.left_out:
        lead += f" Of {len(spectra.groups) + spectra.left_out} {many} the first {len(spectra.groups)} are shown."
    return {
        "id": "spectra",
        "title": f"Long-term average spectrum of each {spectra.of}",
        "leads": [lead],
        "panels": spectrum_panels(spectra),
    }


def _clips(typical: Typical, spec: MfccSpec, media: Media, ids: Ids, tell: Progress) -> Section:
    groups = []
    for done, (label, pairs) in enumerate(typical.classes.items(), start=1):
        items = [view for clip, fact in pairs if (view := _clip(clip, fact, spec, media, ids))]
        if items:
            groups.append({"name": label, "items": items})
        tell("clips", done, len(typical.classes))
    leads = [
        "Of each class those nearest to its median length and level, of different speakers as far as there are any."
    ]
    if typical.left_out:
        count = len(typical.classes)
        leads.append(f"Of {count + typical.left_out} classes the first {count} are shown.")
    return {"id": "clips", "title": "Typical clips", "leads": leads, "groups": groups}


def _clip(clip: Clip, fact: ClipFacts, spec: MfccSpec, media: Media, ids: Ids) -> dict[str, Any] | None:
    sounding = clip_sounding(clip, spec)
    if sounding is None:
        return None
    facts = [clip.speaker, clip.split, f"{wording.number(fact.seconds, 2)} s", f"{wording.number(fact.level, 1)} dB"]
    if fact.seconds > sounding.seconds + 1 / sounding.sr:
        facts.append(f"its middle {LONGEST:g} s")
    return sounding_view(sounding, CLIP_LANES, media, ids, facts=[word for word in facts if word], samples=0)


def clip_sounding(clip: Clip, spec: MfccSpec) -> Sounding | None:
    """Return a clip as it is shown, at most the middle 8 s; None if it is too short for the front end."""
    audio, sr = read_stretch(clip.path, clip.start, clip.stop, longest=LONGEST)
    try:
        check_length(round(len(audio) * spec.sr / sr), spec)
    except DataError:
        return None
    return Sounding(stretch_name(clip.path.name, clip.start, clip.stop), audio, sr, spec)
