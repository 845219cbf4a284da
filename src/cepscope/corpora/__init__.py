"""Folders of recordings to labelled, scaled MFCC patches."""

from __future__ import annotations

from cepscope.corpora.corpus import Clip as Clip
from cepscope.corpora.corpus import Corpus as Corpus
from cepscope.corpora.corpus import load_corpus as load_corpus
from cepscope.corpora.extract import extract as extract
from cepscope.corpora.patches import Patches as Patches
from cepscope.corpora.patches import PatchSplit as PatchSplit

__all__ = ["Clip", "Corpus", "PatchSplit", "Patches", "extract", "load_corpus"]
