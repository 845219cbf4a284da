"""What scripts/evaluate_probe.py makes of corpora: the numbers of its tables depend on it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cepscope.audio import write_wav
from cepscope.features import MfccSpec
from cepscope.probe.fewlabels import gather
from cepscope.probe.linear import linear_probe

SPEC = MfccSpec(sr=8000, floor=1e-5)  # of another corpus: the script's own windows are at 16 kHz
TONES = {"aa": 300.0, "s": 6000.0, "vcl": 900.0, "zh": 2500.0}  # Hz


@pytest.fixture(scope="module")
def script(project_root: Path) -> ModuleType:
    path = project_root / "scripts" / "evaluate_probe.py"
    found = importlib.util.spec_from_file_location("evaluate_probe", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Two speakers' sentences of tones in place of phones, laid out as the sample of TIMIT is."""
    rng = np.random.default_rng(0)
    lines = ["file_name,speaker,phone,start_s,end_s"]
    for speaker in ("spk1", "spk2"):
        for sentence in (1, 2):
            name, end, pieces = f"audio/{speaker}_{sentence}.wav", 0.0, []
            for phone in rng.permutation(list(TONES) * 4):
                samples = int(rng.integers(1300, 3000))
                pieces.append(np.sin(2 * np.pi * TONES[phone] / 16_000 * np.arange(samples)))
                lines.append(f"{name},{speaker},{phone},{end:.4f},{end + samples / 16_000:.4f}")
                end += samples / 16_000
            y = 0.5 * np.concatenate(pieces) + 0.001 * rng.standard_normal(sum(map(len, pieces)))
            write_wav(tmp_path / "timit_phones_sample" / name, y.astype(np.float32), 16_000)
    (tmp_path / "timit_phones_sample" / "phones.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_windows_lie_around_the_middle_of_phones(script: ModuleType, tones: Path) -> None:
    windows, phones, speakers, sentences = script.timit(tones, SPEC)
    assert windows.shape == (64, SPEC.n_mfcc, script.CONTEXT)
    assert sorted(set(phones)) == ["aa", "s", "sh", "sil"]  # folded
    assert len(set(sentences)) == 4
    middle = windows[:, :, script.CONTEXT // 2]
    train = speakers == "spk1"
    found = linear_probe(middle[train], phones[train], middle[~train], phones[~train], classifier="logistic")
    assert found.accuracy == 1.0
    edge = windows[:, :, 0]  # 100 ms earlier another phone sounds
    other = linear_probe(edge[train], phones[train], edge[~train], phones[~train], classifier="logistic")
    assert other.accuracy < 0.7


def test_windows_beyond_the_ends_hold_silence(script: ModuleType) -> None:
    spec = MfccSpec(sr=16_000, floor=1e-5)
    mfcc = np.arange(30, dtype=np.float32) + np.zeros((20, 1), np.float32)
    found = script.windows_at(mfcc, np.array([0, 15, 29]), SPEC)
    half = script.CONTEXT // 2
    np.testing.assert_array_equal(found[0, :, :half], np.repeat(spec.silence[:, None], half, axis=1))
    np.testing.assert_array_equal(found[0, 0, half:], np.arange(half + 1))
    np.testing.assert_array_equal(found[1, 0], np.arange(15 - half, 16 + half))
    np.testing.assert_array_equal(found[2, 0, : half + 1], np.arange(29 - half, 30))


def test_speakers_are_normalised_by_what_sounds_of_their_own_clips(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    mfcc = rng.standard_normal((6, 4, 30)).astype(np.float32)
    extents = np.array([(3, 20), (0, 30), (5, 9), (1, 12), (2, 28), (10, 15)])
    speakers = np.array(list("ababab"))
    clips = script.Clips(mfcc, np.array(list("xyxyxy")), speakers, speakers == "a", extents)
    other = script.Clips(
        mfcc * 3 + np.arange(4, dtype=np.float32)[:, None],
        *(getattr(clips, n) for n in ("labels", "speakers", "official", "extents")),
    )
    found = clips.normalised().mfcc
    for name in "ab":
        frames = np.concatenate([found[i][:, slice(*extents[i])] for i in np.flatnonzero(speakers == name)], axis=1)
        np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(frames.std(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(other.normalised().mfcc, found, atol=1e-4)  # a microphone's gain and colour drop out
    np.testing.assert_array_equal(clips.mfcc, mfcc)


def test_each_phone_has_one_group(script: ModuleType) -> None:
    grouped = [phone for phones in script.GROUPS.values() for phone in phones.split()]
    assert len(grouped) == len(set(grouped))
    assert not set(script.FOLDED) & set(script.FOLDED.values())


def test_the_printed_table_has_error_and_difference_by_size(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    wrong = {"mfcc": rng.random((2, 4, 30)) < 0.5, "crbm1": rng.random((2, 4, 30)) < 0.3}
    curves = gather([(wrong, np.arange(30))], (1, 5))
    entry = script.few_label_entry(curves)
    assert list(entry) == ["1", "5"]
    assert entry["5"]["crbm1"]["error"] == pytest.approx(wrong["crbm1"][1].mean(), abs=1e-4)
    apart = entry["5"]["crbm1"]["error"] - entry["5"]["mfcc"]["error"]
    assert entry["5"]["crbm1"]["minus_mfcc"] == pytest.approx(apart, abs=2e-4)  # rounded to four digits
    assert set(entry["1"]["mfcc"]) == {"error", "se"}
