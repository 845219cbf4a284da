"""Extraction: bad clips, parallel equals serial, shards used again, killed and continued."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from cepscope.corpora import Corpus, Patches, extract, load_corpus
from cepscope.corpora.computing import Piece, make_shard
from cepscope.corpora.corpus import Clips
from cepscope.corpora.extract import write_features
from cepscope.corpora.shards import shard_name
from cepscope.errors import CepscopeWarning, DataError, ParameterError
from cepscope.features import CoefficientScaler, MfccSpec, fit_length, mfcc
from cepscope.workers import Share, Workers

Maker = Callable[..., Path]
SPEC = MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)


def equal(a: Patches, b: Patches) -> bool:
    """Tell whether two extractions are the same, bit for bit."""
    same = [
        getattr(getattr(a, side), name).tobytes() == getattr(getattr(b, side), name).tobytes()
        for side in ("train", "test")
        for name in ("x", "y")
    ]
    paths = (a.train.paths, a.test.paths, a.classes, a.skipped) == (
        b.train.paths,
        b.test.paths,
        b.classes,
        b.skipped,
    )
    return all(same) and paths


@pytest.fixture
def some(digits: Corpus) -> Corpus:
    """Return the clips of six voices."""
    speakers = {*digits.speakers[:4], *sorted({c.speaker for c in digits.split("test")})[:2]}
    return Corpus("some", digits.root, tuple(c for c in digits.clips if c.speaker in speakers))


def test_shapes_and_scale(some: Corpus) -> None:
    patches = extract(some, SPEC, frames=40)
    n_train = len(some.split("train"))
    assert patches.input_shape == (13, 40, 1)
    assert patches.train.x.shape == (n_train, 13, 40, 1)
    assert patches.train.x.dtype == np.float32
    assert patches.train.y.dtype == np.int32
    assert [patches.classes[i] for i in patches.train.y] == [c.label for c in some.split("train")]
    assert patches.test.speakers == tuple(c.speaker for c in some.split("test"))
    assert not patches.skipped
    # the scaler is fitted on train alone: each coefficient has mean 0 and spread 1 there, in float32
    np.testing.assert_allclose(patches.train.x.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(patches.train.x.std(axis=(0, 2, 3)), 1, atol=1e-3)
    assert np.abs(patches.test.x.mean(axis=(0, 2, 3))).max() > 0.02
    assert repr(patches) == f"Patches('some', 10 classes, {n_train} train + {len(patches.test)} test of (13, 40, 1))"


def test_patch_is_condition_mfcc_fit_length_scale(some: Corpus) -> None:
    patches = extract(some, MfccSpec(floor=1e-5), frames=40)
    audio, _ = sf.read(some.root / patches.test.paths[3], dtype="float32")
    audio = audio - audio.mean(dtype=np.float64)
    expected = fit_length(mfcc((audio / np.abs(audio).max()).astype(np.float32), patches.spec), 40, patches.spec)
    # float32 cepstra near 500 after two roundings of the sound
    np.testing.assert_allclose(patches.decode(patches.test.x[3]), expected, atol=5e-3)


def test_level_and_offset_are_taken_out(class_folder: Maker) -> None:
    root = class_folder()
    plain = extract(load_corpus(root), SPEC, frames=40)
    for i, path in enumerate(sorted(root.rglob("*.flac"))):
        audio, sr = sf.read(path)
        sf.write(path, audio * (0.5 + i % 3) + 0.05, sr, subtype="PCM_24")
    other = extract(load_corpus(root), SPEC, frames=40)
    np.testing.assert_allclose(other.train.x, plain.train.x, atol=0.02)  # 24 bits of a 16-bit original


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("whiten", [False, True])
def test_two_workers_write_what_one_does(some: Corpus, tmp_path: Path, whiten: bool) -> None:
    settings: dict[str, Any] = {"frames": 40, "whiten": whiten, "shard_size": 30}
    one = extract(some, SPEC, **settings, out=tmp_path / "one")
    seen: list[tuple[int, int]] = []
    two = extract(some, SPEC, **settings, out=tmp_path / "two", workers=2, progress=lambda *x: seen.append(x))
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert equal(one, two)
    assert equal(one, extract(some, SPEC, frames=40, whiten=whiten, shard_size=77))  # in memory, cut otherwise
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(some.clips), len(some.clips))


@pytest.mark.slow
def test_a_cluster_writes_what_one_process_does(some: Corpus, tmp_path: Path, cluster: Any) -> None:
    settings: dict[str, Any] = {"frames": 40, "shard_size": 30}
    one = extract(some, SPEC, **settings, out=tmp_path / "one")
    assert equal(one, extract(some, SPEC, **settings, out=tmp_path / "two", workers=Workers(cluster=cluster.address)))
    assert files(tmp_path / "one") == files(tmp_path / "two")
    with pytest.raises(DataError, match="gone"):  # what is wrong with a clip comes back as it is
        extract(
            Corpus("gone", some.root, (*some.clips, replace(some.clips[0], path=some.root / "gone.wav"))),
            *(SPEC,),
            **settings,
            strict=True,
            out=tmp_path / "three",
            workers=Workers(cluster=cluster.address),
        )


def test_shares_are_left_for_a_later_extraction(some: Corpus, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"frames": 40, "shard_size": 20}
    plain = write_features(some, tmp_path / "plain", SPEC, **settings)
    shards = len(plain.shards)
    for number in (2, 3, 1):
        told: list[tuple[int, int]] = []
        share = Share(number, 3)
        left = {"share": share, "progress": lambda *x, to=told: to.append(x)}
        assert write_features(some, tmp_path / "shared", SPEC, **settings, **left) is None
        assert len(told) == len(share.of(range(shards)))
        assert told[-1][0] == told[-1][1] < len(some.clips)
        assert {path.suffix for path in (tmp_path / "shared").iterdir()} == {".npz"}
    made = shard_times(tmp_path / "shared")
    assert len(made) == shards
    assert write_features(some, tmp_path / "shared", SPEC, **settings) == plain
    assert shard_times(tmp_path / "shared") == made
    assert files(tmp_path / "shared") == files(tmp_path / "plain")


def test_a_shard_whose_worker_is_lost_is_made_again(some: Corpus, tmp_path: Path) -> None:
    """As `Workers` does it: the same piece, done twice, leaves the same file."""
    clips = Clips.of(some.root, some.clips).part(0, 20)
    piece = Piece(0, tmp_path / shard_name(SPEC, 40, clips), clips, SPEC, 40)
    first = make_shard(piece)
    content = piece.path.read_bytes()
    assert make_shard(piece) == first  # found
    piece.path.write_bytes(content[:100])  # of a disk that was full
    assert make_shard(pickle.loads(pickle.dumps(piece))) == first
    assert piece.path.read_bytes() == content


def test_loaded_patches_are_mapped_from_their_file(some: Corpus, tmp_path: Path) -> None:
    arrays = extract(some, SPEC, frames=40)
    mapped = extract(some, SPEC, frames=40, out=tmp_path)
    for patches in (mapped, Patches.load(tmp_path)):
        assert isinstance(patches.train.x, np.memmap)
        assert not patches.train.x.flags.writeable
        assert patches.train.x.tobytes() == arrays.train.x.tobytes()
        assert patches.test.x[3:5].tobytes() == arrays.test.x[3:5].tobytes()
    assert not isinstance(arrays.train.x, np.memmap)
    kept = mapped.train.x[5].copy()
    extract(some, SPEC, frames=41, out=tmp_path)  # what is open stays as it was
    np.testing.assert_array_equal(mapped.train.x[5], kept)


def test_written_patches_come_back(some: Corpus, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    patches = extract(some, SPEC, frames=40, out=tmp_path, shard_size=50, progress=lambda *x: seen.append(x))
    n = len(some.clips)
    assert seen[-1] == (n, n)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    loaded = Patches.load(tmp_path)
    assert equal(patches, loaded)
    assert loaded.spec == SPEC
    assert (loaded.corpus_name, loaded.root) == ("some", str(some.root))
    np.testing.assert_array_equal(loaded.scaler.mean, patches.scaler.mean)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["spec"] == SPEC.to_dict()
    assert len(manifest["shards"]) == -(-n // 50)
    assert isinstance(CoefficientScaler.load(tmp_path / "scaler.npz"), CoefficientScaler)


def shard_times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("mfcc-*.npz")}


def test_shards_are_used_again(class_folder: Maker, tmp_path: Path) -> None:
    corpus, out = load_corpus(class_folder()), tmp_path / "features"
    first = extract(corpus, SPEC, out=out, shard_size=6)
    before = shard_times(out)
    assert len(before) == 3
    assert equal(first, extract(corpus, SPEC, out=out, shard_size=6))
    assert shard_times(out) == before
    changed = corpus.clips[0].path  # one clip of the first shard
    audio, sr = sf.read(changed)
    sf.write(changed, audio[::-1], sr)
    second = extract(corpus, SPEC, out=out, shard_size=6)
    after = shard_times(out)
    assert len(set(after.items()) & set(before.items())) == 2
    assert len(after) == 3  # the one that nothing lists any more is gone
    assert not equal(first, second)
    extract(corpus, MfccSpec(sr=8000, n_mfcc=12, floor=1e-5), out=out, shard_size=6)
    assert not set(shard_times(out)) & set(after)


def test_a_damaged_shard_is_made_again(class_folder: Maker, tmp_path: Path) -> None:
    corpus = load_corpus(class_folder())
    first = extract(corpus, SPEC, out=tmp_path / "features", shard_size=6)
    shard = next((tmp_path / "features").glob("mfcc-*.npz"))
    shard.write_bytes(shard.read_bytes()[:-200])
    assert equal(first, extract(corpus, SPEC, out=tmp_path / "features", shard_size=6))
    assert equal(first, Patches.load(tmp_path / "features"))


KILLED = """
import os, signal, sys
from cepscope.corpora import extract, load_corpus
from cepscope.features import MfccSpec
def stop(done, total):
    if done >= 500:
        os.kill(os.getpid(), signal.SIGKILL)
spec = MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)
extract(load_corpus("spoken-digits"), spec, out=sys.argv[1], shard_size=200, progress=stop)
"""


def test_a_killed_extraction_goes_on(digits: Corpus, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "manifest.json").exists()
    left = shard_times(tmp_path)
    assert len(left) == 3  # of the shard that was being told of, too
    calls: list[int] = []
    resumed = extract(digits, SPEC, out=tmp_path, shard_size=200, progress=lambda n, _: calls.append(n))
    assert calls == [200, 400, 600, 800, 900]
    assert left.items() <= shard_times(tmp_path).items()
    assert equal(resumed, extract(digits, SPEC))


@pytest.fixture
def spoiled(class_folder: Maker) -> Path:
    """Return a folder with six good clips a class and five that can't be used."""
    root = class_folder()
    audio, sr = sf.read(sorted((root / "one").glob("*.flac"))[0], dtype="float32")
    (root / "one" / "text.wav").write_text("this is not sound\n")
    (root / "one" / "zero_bytes.wav").write_bytes(b"")
    sf.write(root / "two" / "click.wav", audio[: round(0.02 * sr)], sr)
    audio[100] = np.nan
    sf.write(root / "six" / "nan.wav", audio, sr, subtype="FLOAT")
    audio[100] = np.inf
    sf.write(root / "six" / "inf.wav", audio, sr, subtype="FLOAT")
    return root


def test_bad_clips_are_named_and_skipped(spoiled: Path, tmp_path: Path) -> None:
    corpus = load_corpus(spoiled)
    assert len(corpus.clips) == 23
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patches = extract(corpus, SPEC, out=tmp_path / "features")
    messages = sorted(str(w.message) for w in caught if w.category is CepscopeWarning)
    names = ["one/text.wav", "one/zero_bytes.wav", "six/inf.wav", "six/nan.wav", "two/click.wav"]
    assert len(messages) == 5
    for message, name in zip(messages, names, strict=True):
        assert message.startswith(f"skipped {name}: ")
        assert "\n" not in message
    assert "0.020 s long, expected at least 0.05 s" in messages[-1]
    assert len(patches.skipped) == 5
    assert len(patches.train) + len(patches.test) == 18
    assert np.isfinite(patches.train.x).all()
    assert Patches.load(tmp_path / "features").skipped == patches.skipped


def test_bad_clips_leave_no_trace_in_the_good_ones(spoiled: Path) -> None:
    corpus = load_corpus(spoiled)
    with pytest.warns(CepscopeWarning):
        skipped = extract(corpus, SPEC)
    bad = {line.split(":")[0] for line in skipped.skipped}
    good = Corpus(corpus.name, corpus.root, tuple(c for c in corpus.clips if corpus.relative(c) not in bad))
    np.testing.assert_array_equal(skipped.train.x, extract(good, SPEC).train.x)


def test_strict(spoiled: Path, tmp_path: Path) -> None:
    corpus = load_corpus(spoiled)
    for _ in range(2):  # the second time the shard is there already
        with pytest.raises(DataError, match=r"text\.wav"):
            extract(corpus, SPEC, strict=True, out=tmp_path / "features")
    assert not (tmp_path / "features" / "manifest.json").exists()


def test_too_few_usable_clips(class_folder: Maker) -> None:
    root = class_folder(labels=("one", "two"))
    corpus = load_corpus(root)
    for clip in corpus.split("train"):
        if clip.label == "two":
            clip.path.write_text("no sound")
    # no warning beside the error: what was skipped is in its one line
    with pytest.raises(DataError, match="no usable clip of class 'two' is left in train; 5 clips were skipped"):
        extract(corpus, SPEC)
    for clip in corpus.split("test"):
        clip.path.unlink()  # gone since the folder was listed
    with pytest.raises(DataError, match="no usable clip is left in test"):
        extract(corpus, SPEC)


def test_mixed_rates_and_channels(class_folder: Maker) -> None:
    root = class_folder()
    plain = extract(load_corpus(root), SPEC, frames=40)
    for path in (root / "one").iterdir():
        audio, sr = sf.read(path)
        sf.write(path, np.stack([audio, audio], axis=1), sr)
    np.testing.assert_allclose(extract(load_corpus(root), SPEC, frames=40).train.x, plain.train.x, atol=1e-4)


@pytest.mark.parametrize("name", ["frames", "workers", "shard_size"])
def test_parameters(some: Corpus, name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name} must be at least 1. Received: 0"):
        extract(some, SPEC, **{name: 0})


def test_out_that_cannot_be_written(some: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="can't make the folder"):
        extract(some, SPEC, out=tmp_path / "file" / "features")


def test_fsdd(shared_dir: Path) -> None:
    start = time.perf_counter()
    patches = extract(load_corpus(shared_dir / "corpora" / "fsdd"), MfccSpec(sr=8000, floor=1e-5), workers=2)
    assert patches.train.x.shape == (2700, 20, 64, 1)
    assert patches.test.x.shape == (300, 20, 64, 1)
    assert not patches.skipped
    assert np.isfinite(patches.train.x).all()
    assert time.perf_counter() - start < 60  # 1 s here: this only notices librosa-slow paths and deadlocks
