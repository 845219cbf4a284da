"""The kinds of files that `fuzz` breaks: whole ones to begin with, and what of the package reads them."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mutants import mutate_bytes, mutate_json, mutate_npy, mutate_riff, mutate_text, mutate_zip

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "data" / "spoken-digits" / "audio" / "zero_adam_0.flac"
SOUNDS = (  # name, rate, channels, what soundfile is told
    ("pcm16.wav", 8000, 1, {"subtype": "PCM_16"}),
    ("pcm24.wav", 48000, 2, {"subtype": "PCM_24"}),
    ("float.wav", 16000, 1, {"subtype": "FLOAT"}),
    ("double.wav", 8000, 1, {"subtype": "DOUBLE"}),
    ("eight.wav", 16000, 8, {"subtype": "PCM_16", "format": "WAVEX"}),
    ("ulaw.wav", 8000, 1, {"subtype": "ULAW"}),
    ("a.flac", 16000, 1, {"subtype": "PCM_16"}),
    ("deep.flac", 192000, 2, {"subtype": "PCM_24"}),
    ("vorbis.ogg", 16000, 1, {"subtype": "VORBIS"}),
    ("opus.ogg", 16000, 1, {"subtype": "OPUS"}),
    ("a.mp3", 16000, 1, {}),
    ("a.aiff", 8000, 1, {"subtype": "PCM_16"}),
)
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".npz", ".raw", "")


class Failed(Exception):
    """A reader gave what it must not."""


@dataclass(frozen=True)
class File:
    """A file, whole or broken; of several readers the number says which ones read it."""

    name: str
    content: bytes
    number: int = 0

    def put(self, folder: Path) -> Path:
        """Write it into a folder."""
        path = folder / self.name
        path.write_bytes(self.content)
        return path


class Kind:
    """Files of a kind, and who reads them.

    Parameters
    ----------
    folder
        Where whole files can be made.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "whole"
        self.home.mkdir()
        self.wholes = self._make()

    def mutant(self, rng: random.Random, number: int) -> File:
        """Return a broken file."""
        whole = rng.choice(self.wholes)
        return File(self._renamed(whole.name, rng), self._broken(whole, rng), number)

    def feed(self, work: Path, file: File) -> None:
        """Put a file into an empty folder and read it; raise Failed where something comes of it that must not."""
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        self._read(work, file)

    def _make(self) -> list[File]:
        raise NotImplementedError

    def _renamed(self, name: str, rng: random.Random) -> str:  # noqa: ARG002
        return name

    def _broken(self, file: File, rng: random.Random) -> bytes:
        return mutate_text(file.content, rng)

    def _read(self, work: Path, file: File) -> None:
        raise NotImplementedError


class Sound(Kind):
    """Sound files, read by `extract`, `describe`, `explain` and by stretches."""

    def _make(self) -> list[File]:
        import soundfile

        from cepscope.audio import read_audio

        found = []
        for name, rate, channels, options in SOUNDS:
            y = read_audio(CLIP, sr=rate)[0][: round(0.4 * rate)]
            soundfile.write(self.home / name, np.repeat(0.5 * y[:, None], channels, axis=1), rate, **options)
            found.append(File(name, (self.home / name).read_bytes()))
        return found

    def _broken(self, file: File, rng: random.Random) -> bytes:
        return mutate_riff(file.content, rng)

    def _renamed(self, name: str, rng: random.Random) -> str:
        return Path(name).stem + rng.choice(SUFFIXES) if rng.random() < 0.1 else name

    def _read(self, work: Path, file: File) -> None:
        from cepscope.corpora.corpus import Clip
        from cepscope.corpora.recordings import read_recording
        from cepscope.corpora.stretches import read_stretch
        from cepscope.corpora.survey import measure_clip
        from cepscope.errors import CepscopeError
        from cepscope.features import MfccSpec

        path = file.put(work)
        facts = measure_clip(Clip(path, "a", "", "train"))
        require("\n" not in facts.problem, "a problem in two lines")
        require(np.isfinite([facts.offset, facts.seconds]).all(), facts)
        with contextlib.suppress(CepscopeError):
            require(np.isfinite(read_stretch(path, 0.1, 0.3)[0]).all(), "NaN in a stretch")
        with contextlib.suppress(CepscopeError):
            require(np.isfinite(read_stretch(path, longest=0.2)[0]).all(), "NaN in a middle")
        spec = MfccSpec(sr=16000, floor=1e-5)
        if file.number % 4 == 0:
            with contextlib.suppress(CepscopeError):
                require(np.isfinite(read_recording(path, spec).mfcc(0, 20)).all(), "NaN in MFCC")
        command(work, ["extract", str(path), "--out", str(work / "x.npz")], [path], makes=work / "x.npz")


class Labels(Kind):
    """Tables and files of labels beside recordings, read by `load_corpus`."""

    def _make(self) -> list[File]:
        rows = "".join(f"{name},{label},{who},{split}\n" for name, label, who, split in _clips())
        stretches = "".join(f"{name},0.0,0.1,{label}\n" for name, label, *_ in _clips())
        marks = ((0.0, 0.1, "a"), (0.1, 0.2, "b"), (0.2, 0.3, "a"), (0.3, 0.4, "b"))
        intervals = "\n".join(f'{start}\n{stop}\n"{text}"' for start, stop, text in marks)
        grid = (
            'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n0.4\n<exists>\n1\n"IntervalTier"\n"w"\n0\n0.4\n4\n'
        )
        texts = {
            "metadata.csv": "file_name,label,speaker,split\n" + rows,
            "table.csv": "file_name,start,end,label\n" + stretches,
            "0.TextGrid": grid + intervals + "\n",
            "0.txt": "".join(f"{start}\t{stop}\t{text}\n" for start, stop, text in marks),
            "0.csv": "start,end,label\n" + "".join(f"{start},{stop},{text}\n" for start, stop, text in marks),
            "0.PHN": "".join(f"{round(start * 8e3)} {round(stop * 8e3)} {text}\n" for start, stop, text in marks),
        }
        return [File(name, text.encode()) for name, text in texts.items()]

    def _read(self, work: Path, file: File) -> None:
        import warnings

        from cepscope.corpora import load_corpus
        from cepscope.corpora.survey import survey

        for i, (clip, *_) in enumerate(_clips()):
            if i == 0 or not file.name.startswith("0."):
                shutil.copy(self._clip(), work / clip)
        file.put(work)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            corpus = load_corpus(work, margin=(file.number % 2) * 0.01)
        require(all(clip.path.resolve().is_relative_to(work.resolve()) for clip in corpus.clips), "a clip elsewhere")
        require(all("\n" not in fact.problem for fact in survey(corpus)), "a problem in two lines")

    def _clip(self) -> Path:
        from cepscope.audio import read_audio, write_wav

        path = self.home / "clip.wav"
        if not path.exists():
            write_wav(path, read_audio(CLIP, sr=8000)[0][:3200], 8000)
        return path


class Lists(Kind):
    """Lists beside well-known corpora, read by their layouts."""

    def _make(self) -> list[File]:
        meta = {"01": {"gender": "male"}, "02": {"gender": "female"}}
        return [
            File("audioMNIST_meta.txt", json.dumps(meta).encode()),
            File("SPEAKERS.TXT", b"; ID | SEX\n1 | F | x\n2 | M | y\n"),
            File("testing_list.txt", b"yes/00000000_nohash_0.wav\nno/00000000_nohash_0.wav\n"),
        ]

    def _read(self, work: Path, file: File) -> None:
        from cepscope.corpora import load_corpus

        people, takes = ("01", "02"), (0, 1)
        kind = file.name[0]
        clips = {
            "a": [f"data/{who}/{digit}_{who}_{take}.wav" for who in people for digit in (0, 1) for take in takes],
            "S": [f"x/{who}/1/{who}-1-000{take}.flac" for who in (1, 2) for take in takes],
            "t": [f"{word}/0000000{i}_nohash_{take}.wav" for word in ("yes", "no") for i in (0, 1) for take in takes],
        }[kind]
        for clip in clips:
            (work / clip).parent.mkdir(parents=True, exist_ok=True)
            (work / clip).touch()
        file.put(work / "data" if kind == "a" else work)
        load_corpus(work, label="sex" if kind == "a" else "label")


class Arrays(Kind):
    """Arrays of features, patterns, scalers, states: read by their own classes and by `invert`."""

    def _make(self) -> list[File]:
        from cepscope.atomic import save_npz
        from cepscope.corpora.shards import Shard, write_shard
        from cepscope.features import CoefficientScaler, MfccSpec, PCAWhitener
        from cepscope.maximize.patterns import Patterns
        from cepscope.maximize.views import VIEWS, Views

        rng = np.random.default_rng(0)
        spec = MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)
        C = rng.standard_normal((4, 13, 8)).astype(np.float32)
        write_shard(self.home / "mfcc-00.npz", Shard(C, ("", "bad", "", "")))
        CoefficientScaler.fit(C).save(self.home / "scaler.npz")
        PCAWhitener.fit(C).save(self.home / "whitener.npz")
        terms = [{"kind": "Unit", "layer": "crbm1", "index": i, "weight": 1.0} for i in range(4)]
        Patterns(
            units=tuple(f"crbm1:{i}" for i in range(4)), x=C[..., None], mfcc=C, spec=spec, activation=C[:, 0, 0],
            history=C[0], objectives=tuple({"terms": [term]} for term in terms),
        ).save(self.home / "patterns.npz")  # fmt: skip
        shape = (2, len(VIEWS))
        ints = np.zeros((*shape, 4), np.intp)
        Views(("a:0", "a:1"), np.zeros((*shape, 13, 8), np.float32), ints, ints[..., :2], np.zeros(shape)).save(
            self.home / "views.npz"
        )
        save_npz(self.home / "hello.npz", hello=C[0], spec=np.array(json.dumps(spec.to_dict())))
        save_npz(self.home / "state.npz", position=json.dumps({"key": "x", "part": 0, "rows": []}), v0=C, v1=C[0, 0])
        np.save(self.home / "plain.npy", C[0])
        return [File(path.name, path.read_bytes()) for path in sorted(self.home.iterdir())]

    def _broken(self, file: File, rng: random.Random) -> bytes:
        if file.name.endswith(".npy"):
            return mutate_npy(file.name, file.content, rng)
        return mutate_zip(file.content, rng, self._inner)

    def _inner(self, name: str, content: bytes, rng: random.Random) -> bytes:
        array = np.lib.format.read_array(io.BytesIO(content))
        if array.dtype.kind != "U" or array.ndim or rng.random() < 0.3:
            return mutate_npy(name, content, rng)
        out = io.BytesIO()
        text = mutate_json(str(array).encode(), rng).decode("utf-8", "replace")
        np.lib.format.write_array(out, np.array(text))
        return out.getvalue()

    def _read(self, work: Path, file: File) -> None:
        from cepscope.atomic import load_npz
        from cepscope.corpora.shards import read_shard
        from cepscope.features import load_scaling
        from cepscope.maximize.patterns import Patterns
        from cepscope.maximize.views import Views

        name, path = file.name, file.put(work)
        if name in ("hello.npz", "plain.npy") or (name == "patterns.npz" and file.number % 4 == 0):
            out = work / "out"
            words = ["invert", str(path), "--out", str(out), "--method", "fast"]
            if name == "plain.npy":
                words += ["--sr", "8000", "--set", "features.n_mfcc=13"]
            command(work, words, [path], makes=None)
            return
        readers: dict[str, Callable[[Path], Any]] = {
            "mfcc-00.npz": lambda path: read_shard(path, shape=(4, 13, 8)),
            "scaler.npz": load_scaling,
            "whitener.npz": load_scaling,
            "patterns.npz": Patterns.load,
            "views.npz": Views.load,
            "state.npz": load_npz,
        }
        found = readers[name](path)
        if name == "patterns.npz":
            _ = found.layers, found.indices, len(found)


class Manifest(Kind):
    """The list of a run's features, read by `Patches.load`."""

    def _make(self) -> list[File]:
        import warnings

        from cepscope.corpora import extract, load_corpus
        from cepscope.features import MfccSpec

        corpus = self.home / "corpus"
        for label in ("one", "two"):
            (corpus / label).mkdir(parents=True)
            for clip in sorted(CLIP.parent.glob(f"{label}_*_0.flac"))[:3]:
                shutil.copy(clip, corpus / label)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extract(
                load_corpus(corpus), MfccSpec(sr=8000, n_mfcc=13, floor=1e-5), frames=16, out=self.home / "features"
            )
        return [File("manifest.json", (self.home / "features" / "manifest.json").read_bytes())]

    def _broken(self, file: File, rng: random.Random) -> bytes:
        return mutate_json(file.content, rng)

    def _read(self, work: Path, file: File) -> None:
        from cepscope.corpora import Patches

        shutil.copytree(self.home / "features", work, dirs_exist_ok=True)
        file.put(work)
        found = Patches.load(work)
        require(np.isfinite(found.train.x).all(), "NaN in patches")


class Settings(Kind):
    """Settings, read by `load_config`."""

    def _make(self) -> list[File]:
        from cepscope.config import RunConfig, to_toml

        return [File("run.toml", to_toml(RunConfig()).encode())]

    def _read(self, work: Path, file: File) -> None:
        from cepscope.config import load_config

        file.put(work)
        config = load_config(work / file.name, environment={})
        config.features.spec(config.features.sr or 16000)


class Record(Kind):
    """What a run recorded of itself, read by its ledger: nothing outside the run may be touched."""

    def _make(self) -> list[File]:
        stage = {"fingerprint": "x", "outputs": {"patterns/a.txt": "0" * 64}, "inputs": {}, "settings": {}, "seed": 0}
        return [File("run.json", json.dumps({"stages": {"maximize": stage, "train": stage}, "versions": {}}).encode())]

    def _broken(self, file: File, rng: random.Random) -> bytes:
        return mutate_json(file.content, rng)

    def _read(self, work: Path, file: File) -> None:
        from cepscope.pipeline.ledger import Ledger

        file.put(work)
        ledger = Ledger(work)
        for stage in ("maximize", "train"):
            ledger.is_current(stage, "x")
            ledger.begin(stage)


class Archive(Kind):
    """Archives, read by `fetch`."""

    def _make(self) -> list[File]:
        found = []
        content = bytes(range(256)) * 20
        for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode=mode) as tape:
                for name in ("top/a.wav", "top/deep/b.wav", "top/" + "n" * 120):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tape.addfile(info, io.BytesIO(content))
            found.append(File(f"a{suffix}", out.getvalue()))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("top/a.wav", content)
            packed.writestr("top/b.wav", content)
        return [*found, File("a.zip", out.getvalue())]

    def _broken(self, file: File, rng: random.Random) -> bytes:
        if file.name == "a.zip":
            return mutate_zip(file.content, rng, lambda _, data, rng: mutate_bytes(data, rng))
        return mutate_bytes(file.content, rng)

    def _read(self, work: Path, file: File) -> None:
        from cepscope.corpora.archives import unpack

        file.put(work)
        (work / "in" / "side").mkdir(parents=True)
        try:
            unpack(work / file.name, work / "in" / "side", most=1_000_000)
        finally:
            require(sorted(path.name for path in work.iterdir()) == sorted([file.name, "in"]), "a file outside")
            require([path.name for path in (work / "in").iterdir()] == ["side"], "a file outside")


class Network(Kind):
    """Networks, read by `load_model`."""

    def _make(self) -> list[File]:
        import cepscope as cs
        from cepscope.models.backend import keras

        keras.utils.set_random_seed(0)
        layers = [keras.Input((13, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
        model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3)])
        model.save(self.home / "a.keras")
        model.save(self.home / "a.h5")
        cs.build_cdbn((13, 16, 1), ("a", "b"), filters=(3, 4), kernel_sizes=((3, 3), (3, 3)), seed=0).save(
            self.home / "cdbn.keras"
        )
        return [File(path.name, path.read_bytes()) for path in sorted(self.home.iterdir())]

    def _broken(self, file: File, rng: random.Random) -> bytes:
        if file.name.endswith(".h5"):
            return mutate_bytes(file.content, rng)
        return mutate_zip(file.content, rng, self._inner)

    def _inner(self, name: str, content: bytes, rng: random.Random) -> bytes:
        return mutate_json(content, rng) if name.endswith(".json") else mutate_bytes(content, rng)

    def _read(self, work: Path, file: File) -> None:
        from cepscope.models.backend import keras
        from cepscope.models.loading import load_model

        file.put(work)
        try:
            load_model(work / file.name, compiled=False)
        finally:
            keras.backend.clear_session()


KINDS: dict[str, type[Kind]] = {
    "sound": Sound,
    "labels": Labels,
    "lists": Lists,
    "arrays": Arrays,
    "manifest": Manifest,
    "settings": Settings,
    "record": Record,
    "archive": Archive,
    "network": Network,
}


def command(work: Path, words: Sequence[str], given: Sequence[Path], *, makes: Path | None) -> None:
    """Run a command in this process; raise what it says as an error, and Failed where it leaves what it must not."""
    from cepscope.atomic import load_npz
    from cepscope.cli import main
    from cepscope.errors import DataError

    said = io.StringIO()
    before = set(work.rglob("*"))
    code: Any = 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(list(words))
        except SystemExit as stop:
            code = stop.code
    left = set(work.rglob("*")) - before
    require(not any(path.name.startswith(".part-") for path in left), f"left behind: {sorted(left)}")
    require(all(path.is_file() for path in given), "the file itself is gone")
    if code:
        lines = said.getvalue().strip().splitlines()
        require(code in (1, 2) and len(lines) == 1 and lines[0].startswith("cepscope: error: "), f"{code}: {lines}")
        require(not any(path.is_file() for path in left), f"left behind: {sorted(left)}")
        raise DataError(lines[0])
    if makes:
        arrays = load_npz(makes)
        require(all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"), "NaN in MFCC")


def require(ok: Any, what: object) -> None:
    """Raise Failed unless it is so."""
    if not ok:
        raise Failed(str(what))


def memory(*, peak: bool = False) -> int:
    """Return bytes of memory that this process has, or had at most since `reset_memory`."""
    name = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def reset_memory() -> None:
    """Let the peak begin anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _clips() -> list[tuple[str, str, str, str]]:
    return [(f"{i}.wav", "ab"[i % 2], f"s{i // 2}", "train" if i < 6 else "test") for i in range(8)]
