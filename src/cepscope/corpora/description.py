"""A corpus described: what there is, and what to look at before training on it."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

import numpy as np

from cepscope.corpora.computing import SHORTEST, SHORTEST_STRETCH, shortest
from cepscope.corpora.corpus import SPLITS, Clip, Corpus, Split
from cepscope.corpora.layouts.rows import listed
from cepscope.corpora.leaks import Probe, copies, copies_across, probe_level, shared_recordings, shared_speakers
from cepscope.corpora.stretches import LONGEST
from cepscope.corpora.survey import ClipFacts, survey

QUIET = -60.0  # dB of full scale; a clip whose largest sample stays below is near silence
CLIPPED = 0.001  # share of samples in runs at full scale that can be heard
LOUDER = 6.0  # dB between the medians of two speakers
OFFSET = 0.005  # of full scale; the median offset of a speaker
UNEVEN = 5  # times as many clips in the largest class as in the smallest
QUANTILES = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}


@dataclass(frozen=True)
class Description:
    """A corpus and the facts about its clips.

    Attributes
    ----------
    corpus
        The clips.
    facts
        (n,) one for each clip, in the same order.
    copies
        Groups of clips with the same samples.
    label_probe, speaker_probe
        How well level and offset alone tell them; None where there is too little to tell.
    """

    corpus: Corpus
    facts: tuple[ClipFacts, ...]
    copies: tuple[tuple[str, ...], ...]
    label_probe: Probe | None
    speaker_probe: Probe | None

    @property
    def pairs(self) -> list[tuple[Clip, ClipFacts]]:
        """Each clip that can be read, with its facts."""
        return [(clip, fact) for clip, fact in zip(self.corpus.clips, self.facts, strict=True) if not fact.problem]

    @property
    def unreadable(self) -> list[str]:
        """One line for each clip that can't be read."""
        every = zip(self.corpus.clips, self.facts, strict=True)
        return [f"{self.corpus.relative(clip)}: {fact.problem}" for clip, fact in every if fact.problem]

    @property
    def short(self) -> list[str]:
        """Clips too short to extract from, by name."""
        return [self.corpus.relative(clip) for clip, fact in self.pairs if fact.seconds < shortest(clip.stop)]

    @property
    def long(self) -> list[str]:
        """Clips of which only the middle is read, by name."""
        return [self.corpus.relative(clip) for clip, fact in self.pairs if fact.seconds > LONGEST]

    @property
    def silent(self) -> list[str]:
        """Clips that are silent or nearly so, by name."""
        return [self.corpus.relative(clip) for clip, fact in self.pairs if fact.peak < QUIET]

    @property
    def clipped(self) -> list[str]:
        """Clips with flat tops at full scale, by name."""
        flat = [clip for clip, fact in self.pairs if fact.clipped > CLIPPED * fact.seconds * fact.sr]
        return [self.corpus.relative(clip) for clip in flat]

    def by_speaker(self, attribute: str) -> dict[str, float]:
        """Return the median of a fact over each speaker's clips; silent and unreadable clips do not count."""
        values: dict[str, list[float]] = {}
        for clip, fact in self.pairs:
            if clip.speaker and math.isfinite(fact.level):
                values.setdefault(clip.speaker, []).append(getattr(fact, attribute))
        return {speaker: float(np.median(values[speaker])) for speaker in sorted(values)}

    def warnings(self) -> list[str]:
        """Return what should be looked at, a line each."""
        return [*_leak_lines(self), *_level_lines(self), *_clip_lines(self)]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the single clips as JSON can hold it; lengths in s, levels in dB of full scale."""
        corpus, good = self.corpus, [fact for _, fact in self.pairs]
        cells = Counter((clip.label, clip.split) for clip in corpus.clips)
        return {
            "corpus": corpus.name,
            "root": str(corpus.root),
            "note": corpus.note,
            "clips": len(corpus.clips),
            "splits": {side: _side(self, side) for side in SPLITS},
            "classes": {label: {side: cells[label, side] for side in SPLITS} for label in corpus.labels},
            "speakers": _speakers(self),
            "seconds": quantiles([fact.seconds for fact in good]),
            "rates": _counts([fact.sr for fact in good]),
            "channels": _counts([fact.channels for fact in good]),
            "level": quantiles([fact.level for fact in good]),
            "peak": quantiles([fact.peak for fact in good]),
            "offset": quantiles([fact.offset for fact in good]),
            "level_and_offset_tell": {"label": _probe(self.label_probe), "speaker": _probe(self.speaker_probe)},
            "copies": [list(group) for group in self.copies],
            "copies_across_splits": [list(group) for group in copies_across(corpus, self.copies, "split")],
            "speakers_in_both_splits": list(shared_speakers(corpus)),
            "recordings_in_both_splits": list(shared_recordings(corpus)),
            "unreadable": self.unreadable,
            "short": self.short,
            "long": self.long,
            "silent": self.silent,
            "clipped": self.clipped,
            "warnings": self.warnings(),
        }

    def to_csv(self) -> str:
        """Return one line a clip: what it is and what was measured."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["clip", "label", "speaker", "split", *(field.name for field in fields(ClipFacts))])
        for clip, fact in zip(self.corpus.clips, self.facts, strict=True):
            writer.writerow([self.corpus.relative(clip), clip.label, clip.speaker, clip.split, *astuple(fact)])
        return out.getvalue()


def describe(
    corpus: Corpus, *, seed: int = 0, workers: int = 1, progress: Callable[[int, int], object] | None = None
) -> Description:
    """Measure every clip of a corpus and look for what gives its labels away.

    Parameters
    ----------
    corpus
        From `load_corpus`.
    seed
        Of the probes' folds.
    workers
        Processes.
    progress
        Called as ``progress(clips_done, clips_in_all)`` in this process.
    """
    facts = survey(corpus, workers=workers, progress=progress)
    labels, speakers = [clip.label for clip in corpus.clips], [clip.speaker for clip in corpus.clips]
    return Description(
        corpus=corpus,
        facts=facts,
        copies=tuple(copies(corpus, facts)),
        label_probe=probe_level(facts, labels, seed=seed),
        speaker_probe=probe_level(facts, speakers, seed=seed) if speakers != labels else None,
    )


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return quantiles by name; None where there are no values, or for the level of silence."""
    if not values:
        return dict.fromkeys(QUANTILES)
    # an order statistic, because between a number and -inf there is none
    found = np.quantile(values, list(QUANTILES.values()), method="nearest")
    return {name: float(value) if math.isfinite(value) else None for name, value in zip(QUANTILES, found, strict=True)}


def _counts(values: Sequence[int]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def _probe(probe: Probe | None) -> dict[str, float | int | bool] | None:
    return asdict(probe) | {"tells": probe.tells} if probe else None


def _side(description: Description, side: Split) -> dict[str, float | int]:
    own = [clip for clip in description.corpus.clips if clip.split == side]
    return {
        "clips": len(own),
        "seconds": math.fsum(fact.seconds for clip, fact in description.pairs if clip.split == side),
        "classes": len({clip.label for clip in own}),
        "speakers": len({clip.speaker for clip in own if clip.speaker}),
    }


def _speakers(description: Description) -> dict[str, dict[str, float | int | None]]:
    counts = Counter(clip.speaker for clip in description.corpus.clips if clip.speaker)
    level, offset = description.by_speaker("level"), description.by_speaker("offset")
    return {
        speaker: {"clips": counts[speaker], "level": level.get(speaker), "offset": offset.get(speaker)}
        for speaker in sorted(counts)
    }


def _leak_lines(found: Description) -> list[str]:
    corpus, lines = found.corpus, []
    if across := copies_across(corpus, found.copies, "split"):
        lines.append(f"{len(across)} sounds are in train and in test under other names: {' = '.join(across[0][:3])}")
    if odd := copies_across(corpus, found.copies, "label"):
        lines.append(f"{len(odd)} sounds have several labels: {' = '.join(odd[0][:3])}")
    if (spare := sum(len(group) - 1 for group in found.copies)) and not across:
        lines.append(f"{spare} clips are copies of others: {' = '.join(found.copies[0][:3])}")
    if both := shared_speakers(corpus):
        count = f"{len(both)} of {len(corpus.speakers)} speakers"
        lines.append(f"{count} are in train and in test: {listed(both, quote=False)}")
    if not corpus.speakers:
        lines.append("no speaker is known, so whether one is in train and in test is not known either")
    elif unknown := sum(not clip.speaker for clip in corpus.clips):
        lines.append(f"the speaker of {unknown} clips is not known")
    if stretched := shared_recordings(corpus):
        lines.append(f"stretches of {len(stretched)} recordings are in train and in test ({stretched[0]})")
    return lines


def _level_lines(found: Description) -> list[str]:
    lines = []
    for what, probe in (("label", found.label_probe), ("speaker", found.speaker_probe)):
        if probe and probe.tells:
            lines.append(
                f"level and DC alone tell the {what} of {probe.accuracy:.0%} of the clips ({probe.classes} classes, "
                f"chance {probe.chance:.0%}); cepscope takes both out of every clip, other front ends may not"
            )
    level, offset = found.by_speaker("level"), found.by_speaker("offset")
    if len(level) > 1 and (spread := max(level.values()) - min(level.values())) > LOUDER:
        loud, soft = max(level, key=level.__getitem__), min(level, key=level.__getitem__)
        times = 10 ** (spread / 20)
        lines.append(f"speakers differ {times:.1f}x in level: {loud} {level[loud]:.1f} dB, {soft} {level[soft]:.1f} dB")
    if shifted := [name for name, value in offset.items() if abs(value) > OFFSET]:
        worst = max(shifted, key=lambda name: abs(offset[name]))
        count = f"{len(shifted)} of {len(offset)} speakers"
        lines.append(f"DC in the recordings of {count}: {worst} {offset[worst]:+.4f} of full scale")
    return lines


def _clip_lines(found: Description) -> list[str]:
    cases = {
        "can't be read": found.unreadable,
        f"are too short and will be skipped (under {SHORTEST} s, stretches under {SHORTEST_STRETCH} s)": found.short,
        f"are longer than {LONGEST:.0f} s; only their middle will be read": found.long,
        f"are silent (no sample above {QUIET:.0f} dB of full scale)": found.silent,
        f"are clipped (over {CLIPPED:.1%} of their samples at full scale)": found.clipped,
    }
    lines = [f"{len(clips)} clips {what}: {listed(clips, quote=False)}" for what, clips in cases.items() if clips]
    rates = {fact.sr for _, fact in found.pairs}
    if len(rates) > 1:
        lines.append(f"clips have {len(rates)} sampling rates ({', '.join(map(str, sorted(rates)))} Hz)")
    counts = Counter(clip.label for clip in found.corpus.clips)
    most, fewest = counts.most_common()[0], counts.most_common()[-1]
    if most[1] > UNEVEN * fewest[1]:
        lines.append(f"classes are uneven: {most[1]} clips of {most[0]!r}, {fewest[1]} of {fewest[0]!r}")
    return lines
