"""Pages of one subject each, written on demand: a corpus, a training, a recording.

Like the page of a run each is one file that reaches for nothing. All three are one template, which shows whatever their
sections hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy.typing as npt

from cepscope.atomic import write_text
from cepscope.corpora.description import Description
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec
from cepscope.report import raster, wording
from cepscope.report.corpus_sections import corpus_sections
from cepscope.report.lanes import LANES, sounding_view
from cepscope.report.media import LUFS, Embedded, Ids
from cepscope.report.recorded import Recorded
from cepscope.report.rendering import render
from cepscope.report.training_sections import training_sections
from cepscope.report.typical import MOST_CLIPS

PLACES = {"top", "main", "loop", "now", "keys"}

Section = dict[str, Any]


def _page(
    *,
    title: str,
    brand: str,
    sections: Sequence[Section],
    leads: Sequence[str] = (),
    notices: Sequence[str] = (),
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    template = files("cepscope.report") / "template"
    parts = {
        name: (template / name).read_text("utf-8")
        for name in ("style.css", "comparison.css", "sheet.css", "comparison.js")
    }
    playable = any(group["items"] for section in sections for group in section.get("groups", ()))
    media = Embedded()
    ramp = [range(raster.LEVELS)]
    return render(
        "sheet.html.j2",
        title=title,
        brand=brand,
        leads=leads,
        notices=notices,
        facts=facts,
        sections=sections,
        playable=playable,
        style="".join(parts[name] for name in ("style.css", "comparison.css", "sheet.css")),
        script=parts["comparison.js"] if playable else "",
        lufs=LUFS,
        spread=raster.SPREAD_SD,
        range_db=raster.RANGE_DB,
        legend_sd=media.picture(raster.paint(ramp, 0, raster.LEVELS - 1)),
        legend_db=media.picture(raster.paint(ramp, 0, raster.LEVELS - 1, colours=raster.SEQUENTIAL)),
    )


def render_corpus_page(
    description: Description,
    spec: MfccSpec,
    *,
    clips: int = 2,
    title: str = "",
    progress: Callable[[str, int, int], object] | None = None,
) -> str:
    """Render the page of `write_corpus_page`.

    Returns
    -------
    str
        One HTML document, the same characters for the same corpus.
    """
    if not 1 <= clips <= MOST_CLIPS:
        raise ParameterError(f"A page of a corpus shows 1 to {MOST_CLIPS} clips of each class. Received: {clips}")
    corpus = description.corpus
    found = description.to_dict()
    seconds = math.fsum(side["seconds"] for side in found["splits"].values())
    media, ids = Embedded(), Ids(PLACES)
    sections = corpus_sections(description, spec, clips=clips, media=media, ids=ids, progress=progress)
    return _page(
        title=title or corpus.name,
        brand="a corpus",
        leads=[corpus.note] if corpus.note else [],
        notices=["No human speaks in this corpus: it is synthetic."] if corpus.synthetic else [],
        facts=[
            (str(found["clips"]), "clips"),
            (str(len(found["classes"])), "classes"),
            (str(len(found["speakers"]) or "unknown"), "speakers"),
            (f"{seconds / 60:.1f}", "min of sound"),
        ],
        sections=sections,
    )


def write_corpus_page(
    path: str | Path,
    description: Description,
    spec: MfccSpec,
    *,
    clips: int = 2,
    title: str = "",
    progress: Callable[[str, int, int], object] | None = None,
) -> Path:
    """Write the page of a corpus, whole or not at all.

    Facts, what gives labels away, distributions, the long-term average spectrum of each class (of each speaker where
    classes are many), and of each class some typical clips, to be seen and heard.

    Parameters
    ----------
    path : path
        The HTML file to appear.
    description : Description
        From `cepscope.corpora.description.describe`.
    spec : MfccSpec
        The front end that clips are shown through.
    clips : int
        Of each class, at most 40; of many classes the first are shown, 40 clips in all.
    title : str
        By default the corpus's name.
    progress : callable, optional
        Called as ``progress(what, parts_done, parts_in_all)``.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ParameterError
        `clips` is out of range.
    DataError
        `path` can't be written, or a clip can't be read any more.
    """
    write_text(path, render_corpus_page(description, spec, clips=clips, title=title, progress=progress))
    return Path(path)


def render_training_page(
    history: Sequence[Mapping[str, Any]],
    filters: Mapping[str, npt.ArrayLike],
    *,
    title: str = "How it was trained",
    settings: Mapping[str, Any] | None = None,
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """Render the page of `write_training_page`.

    Returns
    -------
    str
        One HTML document, the same characters for the same training.
    """
    if not history:
        raise ParameterError("A page of a training needs its history. Received: no rows")
    return _page(
        title=title,
        brand="a training",
        facts=facts,
        sections=training_sections(history, filters, settings or {}, Embedded()),
    )


def write_training_page(
    path: str | Path,
    history: Sequence[Mapping[str, Any]],
    filters: Mapping[str, npt.ArrayLike],
    *,
    title: str = "How it was trained",
    settings: Mapping[str, Any] | None = None,
    facts: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write the page of a training, whole or not at all.

    Each layer's last diagnostics, with plain words where something is wrong; curves; filters; settings.

    Parameters
    ----------
    path : path
        The HTML file to appear.
    history : sequence of mapping
        Rows of ``history.csv``, as `cepscope.models.pretrain` and `fit_classifier` return them.
    filters : mapping of str to array [shape=(filters, height, width)]
        Each layer's filters, see `cepscope.models.model_filters`.
    title : str
    settings : mapping, optional
        What it was trained with.
    facts : sequence of (str, str)
        Value and what it is, for the head of the page.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ParameterError
        There is no history.
    DataError
        `path` can't be written.
    """
    write_text(path, render_training_page(history, filters, title=title, settings=settings, facts=facts))
    return Path(path)


def render_clip_page(recorded: Recorded, *, title: str = "") -> str:
    """Render the page of `write_clip_page`.

    Returns
    -------
    str
        One HTML document, the same characters for the same recording.
    """
    media, ids = Embedded(), Ids(PLACES | {"recording", "facts"})
    sounding = recorded.sounding
    stop = sounding.start + sounding.seconds
    part = (
        f"The recording is {recorded.facts.seconds:.1f} s long. Shown and heard is its middle, from "
        f"{sounding.start:.1f} to {stop:.1f} s, which is what is read of so long a clip of a corpus; the facts are "
        "of all of it."
    )
    view = sounding_view(sounding, tuple(LANES), media, ids)
    return _page(
        title=title or sounding.name,
        brand="a recording",
        notices=[part] if recorded.is_part else [],
        facts=[
            (wording.number(recorded.facts.seconds, 2), "s"),
            (f"{recorded.facts.sr / 1000:g}", "kHz"),
            (wording.number(recorded.facts.level, 1), "dB RMS"),
        ],
        sections=[
            {
                "id": "recording",
                "title": "Over time",
                "groups": [{"name": "", "items": [view]}],
                "wide": True,
                "missing": ""
                if sounding.has_pitch
                else f"No pitch: at {sounding.spec.sr} Hz the rate is too low to look for one.",
            },
            {
                "id": "facts",
                "title": "In numbers",
                "tables": [("recording", recorded.told()), ("front end", wording.front_end(sounding.spec))],
            },
        ],
    )


def write_clip_page(path: str | Path, recorded: Recorded, *, title: str = "") -> Path:
    """Write the page of one recording, whole or not at all.

    What was measured of it, and over one time axis: waveform, spectrograms with long and with short windows, log-mel
    spectrogram, MFCC and their derivatives, pitch and voicing.

    Parameters
    ----------
    path : path
        The HTML file to appear.
    recorded : Recorded
        From `cepscope.report.read_recorded`.
    title : str
        By default the file's name.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    DataError
        `path` can't be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from cepscope.audio import write_wav
    >>> from cepscope.features import MfccSpec
    >>> from cepscope.report import read_recorded
    >>> with TemporaryDirectory() as folder:
    ...     write_wav(f"{folder}/tone.wav", 0.5 * np.sin(np.arange(8000) / 10), 16000)
    ...     page = write_clip_page(f"{folder}/tone.html", read_recorded(f"{folder}/tone.wav", MfccSpec()))
    ...     page.read_text().count("<audio")
    1
    """
    write_text(path, render_clip_page(recorded, title=title))
    return Path(path)
