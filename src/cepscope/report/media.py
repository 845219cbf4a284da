"""Where a page keeps its pictures, sounds and arrays, and how loud it plays.

The template asks for addresses and knows nothing else: they are data URIs within the page (`Embedded`), or files next
to it that a browser fetches when they are needed (`Folder`), for pages of many hundred units.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cepscope.audio import at_loudness, loudness, to_wav_bytes
from cepscope.errors import DataError, ParameterError
from cepscope.report.content import ReportContent

LUFS = -23.0  # EBU R 128's level of speech
LEAST_LUFS = -30.0  # a sound whose peaks forbid even this does not make the others quieter
PEAK = 0.89
LOUDNESS_RATE = 4000  # Hz; below it loudness is not defined
LONGEST_NAME = 80
OWN_FILE = re.compile(r"[\w-]+\.(png|wav|npz)")

Array = npt.NDArray[np.float32]


class Media(Protocol):
    """Where pictures, sounds and arrays are kept, and the address under which a page finds them."""

    sources: str
    lazy: bool

    def picture(self, png: bytes, name: str = "") -> str:
        """Keep a PNG; return its address."""

    def sound(self, wav: bytes, name: str = "") -> str:
        """Keep a WAV; return its address."""

    def arrays(self, npz: bytes, name: str = "") -> str:
        """Keep an npz; return its address."""


class Embedded:
    """Everything inside the page, as data URIs."""

    sources = "data:"
    lazy = False

    def picture(self, png: bytes, name: str = "") -> str:  # noqa: ARG002
        """Return a PNG as a data URI."""
        return "data:image/png;base64," + base64.b64encode(png).decode()

    def sound(self, wav: bytes, name: str = "") -> str:  # noqa: ARG002
        """Return a WAV as a data URI."""
        return "data:audio/wav;base64," + base64.b64encode(wav).decode()

    def arrays(self, npz: bytes, name: str = "") -> str:  # noqa: ARG002
        """Return an npz as a data URI."""
        return "data:application/octet-stream;base64," + base64.b64encode(npz).decode()


class Folder:
    """Files next to a page, each content once: collected while the page is made, written when it is whole.

    Parameters
    ----------
    folder : path
        Its name is part of each address.
    """

    sources = "'self' file:"  # 'self' alone matches no local file in Firefox, where such pages have no origin
    lazy = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.files: dict[str, bytes] = {}
        self.names: dict[str, str] = {}  # digest -> file

    def picture(self, png: bytes, name: str = "") -> str:
        """Keep a PNG; return its address, as seen from the page."""
        return self._keep(png, name, "png")

    def sound(self, wav: bytes, name: str = "") -> str:
        """Keep a WAV; return its address, as seen from the page."""
        return self._keep(wav, name, "wav")

    def arrays(self, npz: bytes, name: str = "") -> str:
        """Keep an npz; return its address, as seen from the page."""
        return self._keep(npz, name, "npz")

    def _keep(self, content: bytes, name: str, suffix: str) -> str:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self.names:
            file = f"{name}.{suffix}"
            self.names[digest] = file if name and file not in self.files else f"{digest[:16]}.{suffix}"
            self.files[self.names[digest]] = content
        return f"{self.folder.name}/{self.names[digest]}"

    def write(self) -> None:
        """Write all files; DataError if that is impossible.

        They are many and small, so they are not synced one by one: the page, written last, makes them count.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, content in self.files.items():
                (self.folder / name).write_bytes(content)
        except OSError as error:
            raise DataError(f"can't write {self.folder} ({error.strerror}); choose another place") from error

    def sweep(self) -> None:
        """Remove what an earlier page left here, and the folder if nothing is in it."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            if OWN_FILE.fullmatch(path.name) and path.name not in self.files:
                path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


class Ids:
    """Names of places on the page: readable, short enough for a file, no two alike, however they are spelled."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self.taken = set(reserved)

    def new(self, text: str) -> str:
        """Return a name made of `text` that no other place has, nor the places derived from one."""
        slug = base = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:LONGEST_NAME] or "unit"
        count = 1
        while {slug.lower(), f"{slug.lower()}-name", f"{slug.lower()}-title"} & self.taken:
            count += 1
            slug = f"{base}-{count}"
        self.taken |= {slug.lower(), f"{slug.lower()}-name", f"{slug.lower()}-title"}
        return slug


def equally_loud(y: Array, sr: int) -> Array:
    """Return a sound at -23 LUFS, or as loud as its peaks allow; at rates too low for that, with a peak of 0.89."""
    if sr >= LOUDNESS_RATE:
        return at_loudness(y, sr, lufs=LUFS)[0]
    peak = float(np.abs(y).max())
    return np.asarray(y * (PEAK / peak if peak else 1.0), np.float32)


class Voice:
    """Every sound of a page at one loudness: -23 LUFS, or the most that the peaks of all of them allow.

    Attributes
    ----------
    lufs : float
        After ITU-R BS.1770-4; NaN if the rate is too low for it, and sounds are then as they were.
    quieter : int
        Sounds whose peaks forbid even -30 LUFS; they are as loud as they can be.
    """

    def __init__(self, content: ReportContent) -> None:
        made = [(card.audio, card.sr) for card in content.units]
        real = {id(e.audio): (e.audio, card.sr) for card in content.units for e in card.exemplars}
        sounds = [*made, *real.values()]
        if any(sr < LOUDNESS_RATE for _, sr in sounds):
            self.lufs, self.quieter = np.nan, 0
            return
        reached = np.array([loudness(at_loudness(y, sr, lufs=LUFS)[0], sr) for y, sr in sounds])
        reached = reached[np.isfinite(reached)]
        self.lufs = float(np.clip(reached.min(initial=LUFS), LEAST_LUFS, LUFS))
        self.quieter = int(np.sum(reached < LEAST_LUFS))

    def wav(self, audio: Array, sr: int, whose: str) -> bytes:
        """Return a sound as the page plays it; ParameterError if it exceeds full scale."""
        if (peak := float(np.abs(audio).max())) > 1:
            raise ParameterError(f"The sound of {whose} must lie in [-1, 1]. Received: peak {peak:.6g}")
        if np.isfinite(self.lufs):
            audio = at_loudness(audio, sr, lufs=self.lufs)[0]
        return to_wav_bytes(audio, sr)
