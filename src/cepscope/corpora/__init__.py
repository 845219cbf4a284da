"""Folders of recordings to labelled, scaled MFCC patches."""

from __future__ import annotations

from cepscope.corpora.corpus import Clip as Clip
from cepscope.corpora.corpus import Corpus as Corpus
from cepscope.corpora.description import describe as describe
from cepscope.corpora.extract import extract as extract
from cepscope.corpora.fetch import fetch as fetch
from cepscope.corpora.loading import load_corpus as load_corpus
from cepscope.corpora.patches import Patches as Patches
from cepscope.corpora.patches import PatchSplit as PatchSplit
from cepscope.corpora.splits import leave_one_speaker_out as leave_one_speaker_out
from cepscope.corpora.splits import resplit as resplit

__all__ = [
    "Clip",
    "Corpus",
    "PatchSplit",
    "Patches",
    "describe",
    "extract",
    "fetch",
    "leave_one_speaker_out",
    "load_corpus",
    "resplit",
]
