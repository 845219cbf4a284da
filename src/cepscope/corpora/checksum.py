"""One checksum of a corpus: every clip's content, and what is said of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from cepscope.atomic import sha256
from cepscope.corpora.corpus import Clips, Corpus
from cepscope.workers import Workers

PART = 4096  # clips that one process reads at once: a fraction of a second


def corpus_checksum(
    corpus: Corpus, *, workers: Workers | None = None, progress: Callable[[int, int], object] | None = None
) -> str:
    """Return a checksum (hexadecimal) that changes with any clip's content, label, speaker or side.

    Parameters
    ----------
    corpus
        From `load_corpus`.
    workers
        Who reads the files; by default this process.
    progress
        Called as ``progress(clips_read, clips_in_all)``.
    """
    clips = Clips.of(corpus.root, corpus.clips)
    parts = [clips.part(first, first + PART) for first in range(0, len(clips), PART)]
    read = 0

    def done(found: tuple[str, int]) -> None:
        nonlocal read
        read += found[1]
        if progress:
            progress(read, len(clips))

    found = (workers or Workers(count=1)).map(_checksum, parts, folder=corpus.root, done=done)
    return hashlib.sha256("".join(digest for digest, _ in found).encode()).hexdigest()


def _checksum(clips: Clips) -> tuple[str, int]:
    """Return the checksum of a part, and how many clips that were."""
    digest, path, content = hashlib.sha256(), None, ""
    for i, clip in enumerate(clips):
        if clip.path != path:  # stretches share files
            path, content = clip.path, sha256(clip.path)
        said = [clips.name(i), content, clip.label, clip.speaker, clip.split]
        digest.update(json.dumps(said).encode())
    return digest.hexdigest(), len(clips)
