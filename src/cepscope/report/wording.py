"""The page's words: what one sees, how far to trust it, numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.report.content import TRUSTED_RATIO, ReportContent, UnitCard

# score, short name, what it means, digits after the point
SCORES = (
    (
        "pattern_over_natural",
        "pattern / natural",
        "The pattern's activation divided by that of the best real held-out clip, both above the mean of all "
        "held-out clips.",
        2,
    ),
    (
        "sound_over_natural",
        "sound / natural",
        "The same for the sound, after it went through the front end like any recording. "
        "1 means: as strong as the best real clip.",
        2,
    ),
    (
        "retention",
        "retention",
        "The sound's activation divided by the pattern's: does the sound keep what the pattern promised?",
        2,
    ),
    (
        "rank",
        "rank",
        "Place of the unit among those of its layer on its own sound, each counted in standard deviations of real "
        "clips. 1 is the first: the sound is this unit's own.",
        0,
    ),
    (
        "naturalness_z",
        "naturalness z",
        "How likely the sound is under a model of real speech, in standard deviations of real held-out "
        "clips. 0 is an average clip, below -2 is unlike speech, above 2 is smoother than speech.",
        1,
    ),
    (
        "mfcc_relative_error",
        "MFCC error",
        "Distance between the pattern and the MFCC of its sound, relative to the pattern's variation.",
        3,
    ),
)
# the same of what is said of a sound without asking the network
SOUND_SCORES = (
    (
        "mcd_db",
        "MCD (dB)",
        "Mel-cepstral distortion: distance between the log-mel spectra of pattern and sound, level aside. 0 is exact.",
        2,
    ),
    (
        "hnr_db",
        "HNR (dB)",
        "Harmonics-to-noise ratio: how far the harmonics of the sound's voiced frames rise above their noise. "
        "Spoken words have about 2 to 16.",
        1,
    ),
    (
        "voiced_share",
        "voiced",
        "Share of the sound's frames that have a pitch: 0 is a whisper, 1 is voiced all through. "
        "Spoken words have about 0.25 to 1.",
        2,
    ),
    (
        "log_mel_range_db",
        "range (dB)",
        "How far the loudest mel band of the sound lies above the quietest. With a floor of 1e-5 recordings have "
        "about 50 to 70; more is exaggerated contrast.",
        0,
    ),
    (
        "gain",
        "gain",
        "What the sound was multiplied by to peak at 0.89 of full scale. Below 0.89 the pattern asks for more level "
        "than full scale has.",
        2,
    ),
)
# view, its name on a card, what it is
VIEWS = {
    "pattern": ("pattern", "The part of the pattern that the unit sees where it fires most."),
    "exemplar": ("real clip", "What the unit sees of the real held-out clip that excites it most at one place."),
    "combination": ("filters below", "The filters of the layers below, added up with the unit's weights."),
    "samples": ("samples", "Mean of what the network imagines with the unit held on, less what it imagines without."),
    "reconstruction": ("rebuilt clip", "The real clip, sent up to the unit's layer and down again."),
}
MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: Any, digits: int = 2) -> str:
    """Write a score; a dash if it was not measured.

    Examples
    --------
    >>> number(1.239), number(float("nan")), number(None), number(-0.001)
    ('1.24', '–', '–', '0.00')
    """
    if value is None or not math.isfinite(float(value)):
        return MISSING
    return f"{float(value):z.{digits}f}".replace("-", MINUS)


def introduction(content: ReportContent) -> tuple[str, str, str]:
    """Return the three sentences at the head of the page."""
    corpus = content.corpus
    name = str(corpus.get("name") or "the corpus")
    doubtful = sum(bool(card.doubts) for card in content.units)
    what = (
        f"Each card is one unit of a network trained on {name}: the MFCC pattern that the unit prefers, "
        "that pattern turned back into sound, and the real held-out clips that excite it most."
    )
    count = len(content.units)
    trust = (
        "Every sound went back through the front end and the network as a recording would: trust those whose "
        f"sound / natural and retention are near 1 or above; {doubtful or 'none'} of {count} units "
        f"{'is' if doubtful == 1 else 'are'} marked doubtful (a ratio below {TRUSTED_RATIO:g} or not "
        "measured, or a class sound that the network hears as another class)."
    )
    if corpus.get("synthetic"):
        limit = (
            "The corpus is synthetic, no human speaks in it: the page shows that the machinery works "
            "and what it does, and nothing about human speech."
        )
    else:
        limit = (
            "The sounds show what a unit responds to within the speech it was given, and MFCCs do not keep "
            "pitch: the voice you hear was chosen by cepscope, not by the unit."
        )
    return what, trust, limit


def loudness(lufs: float, quieter: int) -> str:
    """Say how loud a page plays.

    Examples
    --------
    >>> loudness(-23.00001, 0)
    'All sounds are equally loud: −23 LUFS (ITU-R BS.1770-4).'
    """
    if not math.isfinite(lufs):
        return "Sounds are as loud as they came."
    level = number(lufs, 1).removesuffix(".0")
    text = f"All sounds are equally loud: {level} LUFS (ITU-R BS.1770-4)."
    if quieter:
        text += f" {quieter} of them {'is' if quieter == 1 else 'are'} quieter, so as not to clip."
    return text


def pattern_alt(card: UnitCard, spec: MfccSpec) -> str:
    """Describe a pattern's picture to someone who does not see it."""
    rows, columns = card.pattern.shape
    row, column = np.unravel_index(np.abs(card.pattern).argmax(), card.pattern.shape)
    times = spec.times(columns)
    return (
        f"MFCC pattern of {card.unit}: {rows} coefficients by {columns} frames, {times[-1]:.2f} s; "
        f"the largest deviation is {number(card.pattern[row, column], 1)} standard deviations in "
        f"coefficient {spec.orders[row]} at {times[column]:.2f} s."
    )


def spectrogram_alt(card: UnitCard, decibels: npt.NDArray[np.float64]) -> str:
    """Describe a sound's spectrogram to someone who does not see it."""
    strongest = int(decibels.mean(axis=1).argmax())
    hertz = (strongest + 0.5) * card.sr / 2 / len(decibels)
    seconds = len(card.audio) / card.sr
    return (
        f"Spectrogram of the sound of {card.unit}: 0 to {card.sr // 2} Hz, {seconds:.2f} s, strongest "
        f"on average near {round(hertz, -1):.0f} Hz."
    )


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield ``("a.b", text)`` for everything in a nested mapping."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(value)


def front_end(spec: MfccSpec) -> list[tuple[str, str]]:
    """Return the settings of a front end; a `top_db` that never cuts anything off is none."""
    settings = spec.to_dict()
    return list(flatten(settings if settings["top_db"] is not None else {**settings, "top_db": "none"}))


def plain(value: Any) -> str:
    """Write a setting as people read it.

    Examples
    --------
    >>> plain(True), plain((5, 5)), plain(1e-05), plain(None), plain([])
    ('yes', '5, 5', '1e-05', '–', '–')
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(f"({plain(v)})" if isinstance(v, list | tuple) else plain(v) for v in value) or MISSING
    return str(value)
