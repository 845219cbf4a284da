"""Sounds made from patterns, with their scores; they play themselves in a notebook and save themselves as wav."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cepscope.atomic import load_npz
from cepscope.audio import at_loudness, to_wav_bytes, write_wav
from cepscope.errors import CorruptArtifactError
from cepscope.features import MfccSpec
from cepscope.invert.distances import mel_cepstral_distortion
from cepscope.invert.harmonicity import hnr_and_voiced_share

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sounds:
    """Sounds made from MFCC.

    Attributes
    ----------
    audio : array [shape=(n, samples)]
        Without DC, peak at -1 dB of full scale, so no export clips.
    sr : int
        Hz.
    gain : array [shape=(n,)]
        What each sound was multiplied by to get there: ``audio / gain`` has the level that its pattern asks for. A gain
        below .89 means that the pattern asks for more level than any signal of full scale has.
    relative_error : array [shape=(n,)]
        ``||MFCC(sound) - pattern|| / ||pattern - its mean over time||`` at the pattern's own level.
    normalised_error : array [shape=(n,)]
        The same for the sound brought to full scale, as every later extraction hears it.
    mfcc : array [shape=(n, n_mfcc, frames)]
        Extracted from the sound at the pattern's own level.
    names : tuple of str
    method : str
    level : str
    seed : int
    patterns : array [shape=(n, n_mfcc, frames)], optional
        What they were made from, where it is known.
    spec : MfccSpec, optional
        Its front end.
    """

    audio: FloatArray
    sr: int
    gain: FloatArray
    relative_error: FloatArray
    normalised_error: FloatArray
    mfcc: FloatArray
    names: tuple[str, ...]
    method: str
    level: str
    seed: int
    patterns: FloatArray | None = None
    spec: MfccSpec | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, chosen: int | slice | Sequence[int]) -> Sounds:
        index = np.atleast_1d(np.arange(len(self))[chosen])
        return replace(
            self,
            audio=self.audio[index],
            gain=self.gain[index],
            relative_error=self.relative_error[index],
            normalised_error=self.normalised_error[index],
            mfcc=self.mfcc[index],
            names=tuple(self.names[i] for i in index),
            patterns=None if self.patterns is None else self.patterns[index],
        )

    def at_loudness(self, lufs: float = -23.0) -> Sounds:
        """Return the same sounds equally loud, for listening; a sound whose peak forbids it stays quieter.

        Parameters
        ----------
        lufs : float
            Loudness after ITU-R BS.1770-4, see `cepscope.audio.at_loudness`.

        Returns
        -------
        Sounds
            With `gain` adapted, so that ``audio / gain`` still has the level that its pattern asks for.
        """
        audio, factors = zip(*(at_loudness(y, self.sr, lufs=lufs) for y in self.audio), strict=True)
        return replace(self, audio=np.stack(audio), gain=self.gain * np.array(factors, np.float32))

    def save_wavs(self, folder: str | Path) -> list[Path]:
        """Write one wav a sound, named by `wav_names`; return the paths in order."""
        paths = [Path(folder) / name for name in wav_names(self.names)]
        for path, audio in zip(paths, self.audio, strict=True):
            write_wav(path, audio, self.sr)
        return paths

    def _repr_html_(self) -> str:
        columns = self._columns()
        head = "".join(f"<th>{title}</th>" for title in ("sound", *columns, ""))
        rows = []
        for name, audio, *values in zip(self.names, self.audio, *columns.values(), strict=True):
            data = base64.b64encode(to_wav_bytes(audio, self.sr)).decode()
            label = html.escape(name)
            cells = "".join(f"<td>{value}</td>" for value in values)
            rows.append(
                f"<tr><th>{label}</th>{cells}<td>"
                f'<audio controls aria-label="{label}" src="data:audio/wav;base64,{data}"></audio></td></tr>'
            )
        return f"<table><tr>{head}</tr>{''.join(rows)}</table>"

    def _columns(self) -> dict[str, list[str]]:
        """Return what a notebook shows of the sounds besides themselves, by title."""
        columns = {"relative MFCC error": (self.relative_error, 3), "at full scale": (self.normalised_error, 3)}
        if self.patterns is not None and self.spec is not None:
            pairs = zip(self.mfcc, self.patterns, strict=True)
            columns["MCD [dB]"] = (np.array([mel_cepstral_distortion(*pair, self.spec) for pair in pairs]), 2)
        voices = np.array([hnr_and_voiced_share(audio, self.sr) for audio in self.audio])
        columns |= {"HNR [dB]": (voices[:, 0], 1), "voiced": (voices[:, 1], 2)}
        return {
            title: [f"{value:.{digits}f}" if np.isfinite(value) else "\N{EN DASH}" for value in values]
            for title, (values, digits) in columns.items()
        }


def stored_files(folder: Path) -> list[Path]:
    """Return the wavs of a run's ``audio`` folder in the order of its patterns, as its ``sounds.npz`` lists them.

    Raises
    ------
    CorruptArtifactError
        If the list is damaged or names something outside the folder.
    """
    path = folder / "sounds.npz"
    names = [str(name) for name in np.ravel(load_npz(path).get("files", []))]
    if strange := [name for name in names if Path(name).name != name or Path(name).suffix != ".wav"]:
        raise CorruptArtifactError(f"{path} must list files beside it. Received: {strange[0]!r}; run `invert` again")
    return [folder / name for name in names]


def wav_names(names: Sequence[str]) -> list[str]:
    """Return the file of each sound, named by `file_name`, numbered if two are alike.

    Examples
    --------
    >>> wav_names(["a:1", "a-1"])  # one must not overwrite the other
    ['a-1.wav', 'a-1-2.wav']
    """
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        stem, count = file_name(name), 1
        while stem.lower() in taken:
            count += 1
            stem = f"{file_name(name)}-{count}"
        taken.add(stem.lower())
        found.append(f"{stem}.wav")
    return found


def file_name(name: str) -> str:
    """Return a sound's name as the stem of a file: ``crbm1:7`` becomes ``crbm1-7``.

    Examples
    --------
    >>> file_name("crbm1:7@3,4")
    'crbm1-7-3-4'
    """
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
