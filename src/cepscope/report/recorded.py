"""A sound file and its facts: what a page of one recording says."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cepscope.audio import condition, loudness
from cepscope.corpora.corpus import Clip
from cepscope.corpora.stretches import LONGEST, read_stretch
from cepscope.corpora.survey import ClipFacts, measure_clip
from cepscope.errors import DataError
from cepscope.features import MfccSpec
from cepscope.features.framing import check_length
from cepscope.report.media import LOUDNESS_RATE
from cepscope.report.sounding import Sounding
from cepscope.report.wording import MINUS, number

SILENCE = "silent: there is no level to take out"


@dataclass(frozen=True, eq=False)
class Recorded:
    """A sound file, measured as a whole and read as far as it is shown.

    Attributes
    ----------
    sounding : Sounding
        All of it, or the middle minute of a longer one.
    facts : ClipFacts
        Of the whole file.
    lufs : float
        Loudness of what is shown, ITU-R BS.1770-4; NaN at rates below 4000 Hz.
    """

    sounding: Sounding
    facts: ClipFacts
    lufs: float

    @property
    def is_part(self) -> bool:
        """Whether the file is longer than what is shown."""
        return self.sounding.seconds < self.facts.seconds - 0.5 / self.sounding.sr

    def told(self) -> list[tuple[str, str]]:
        """Return what was measured: name and value."""
        facts, of_part = self.facts, " of the part shown" if self.is_part else ""
        clipped = f"{facts.clipped} ({facts.clipped / (facts.seconds * facts.sr):.2%})" if facts.clipped else "none"
        return [
            ("duration", f"{number(facts.seconds, 3)} s"),
            ("sampling rate", f"{facts.sr} Hz"),
            ("channels", f"{facts.channels}{', averaged' if facts.channels > 1 else ''}"),
            ("peak", _db(facts.peak, "dB of full scale")),
            ("RMS", _db(facts.level, "dB of full scale")),
            ("crest factor", _db(facts.peak - facts.level, "dB") if math.isfinite(facts.level) else number(None)),
            ("loudness" + of_part, _db(self.lufs, "LUFS")),
            ("DC", f"{number(facts.offset, 5)} of full scale"),
            ("clipped samples", clipped),
            ("conditioning" + of_part, self.conditioning()),
        ]

    def conditioning(self) -> str:
        """Return what is done to the sound that is shown before its features."""
        y = np.asarray(self.sounding.audio, np.float64)
        if not condition(y).any():
            return SILENCE
        gain = f"{-20 * math.log10(np.abs(y - y.mean()).max()):+.1f} dB".replace("-", MINUS)
        steps = ["removes the DC", f"brings the peak to full scale ({gain})"]
        if self.sounding.sr != self.sounding.spec.sr:
            steps.append(f"resamples to {self.sounding.spec.sr} Hz")
        return ", ".join(steps)


def read_recorded(path: str | os.PathLike[str], spec: MfccSpec) -> Recorded:
    """Read a sound file of any length; of one longer than a minute, the middle minute.

    Parameters
    ----------
    path : path
    spec : MfccSpec
        The front end.

    Returns
    -------
    Recorded

    Raises
    ------
    DataError
        The file can't be read, or is shorter than the front end's window.
    """
    path = Path(path)
    facts = measure_clip(Clip(path, "", "", "train"))
    if facts.problem:
        raise DataError(facts.problem)
    audio, sr = read_stretch(path, longest=LONGEST)
    check_length(round(len(audio) * spec.sr / sr), spec)
    start = max(0.0, (facts.seconds - len(audio) / sr) / 2)
    lufs = loudness(audio, sr) if sr >= LOUDNESS_RATE else math.nan
    return Recorded(Sounding(path.name, audio, sr, spec, start), facts, lufs)


def _db(value: float, unit: str) -> str:
    if math.isnan(value):
        return number(None)
    return f"{number(value, 1)} {unit}" if math.isfinite(value) else "silence"
