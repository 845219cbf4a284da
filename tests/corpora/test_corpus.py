"""Folders, metadata and the built-in corpus."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cepscope.corpora import Corpus, load_corpus
from cepscope.corpora.checksum import corpus_checksum
from cepscope.errors import CepscopeWarning, DataError, ParameterError
from cepscope.workers import Workers

Maker = Callable[..., Path]

GOOD = "file_name,label,speaker,split\n" + "".join(
    f"audio/{i}.flac,{'one' if i < 4 else 'two'},s{i % 4},{'test' if i % 4 == 3 else 'train'}\n" for i in range(8)
)


def test_built_in_corpus(digits: Corpus) -> None:
    assert digits.name == "spoken-digits"
    assert digits.synthetic
    assert "synthetic" in digits.note
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    assert digits.labels == tuple(sorted(words))
    assert len(digits.speakers) >= 30
    per_cell = Counter((clip.speaker, clip.label) for clip in digits.clips)
    assert set(per_cell.values()) == {2}
    assert len(per_cell) == 10 * len(digits.speakers)
    train, test = ({clip.speaker for clip in digits.split(side)} for side in ("train", "test"))
    assert not train & test
    assert 0.15 <= len(test) / len(digits.speakers) <= 0.3


def test_fsdd_official_split(shared_dir: Path) -> None:
    corpus = load_corpus(shared_dir / "corpora" / "fsdd")
    assert (len(corpus.split("train")), len(corpus.split("test"))) == (2700, 300)
    assert corpus.labels == tuple("0123456789")
    assert len(corpus.speakers) == 6
    assert not corpus.synthetic
    # the official test takes are 0-4 of every speaker and digit
    assert {int(clip.path.stem.rsplit("_", 1)[1]) for clip in corpus.split("test")} == set(range(5))


def test_metadata(metadata_folder: Maker) -> None:
    corpus = load_corpus(metadata_folder(GOOD))
    assert corpus.labels == ("one", "two")
    assert [clip.path.stem for clip in corpus.split("test")] == ["3", "7"]
    assert corpus.speakers == ("s0", "s1", "s2", "s3")
    assert corpus.relative(corpus.clips[0]) == "audio/0.flac"
    assert repr(corpus) == "Corpus('listed', 2 labels, 6 train + 2 test clips)"


def test_metadata_wins_over_subfolders(metadata_folder: Maker) -> None:
    root = metadata_folder(GOOD)
    shutil.copytree(root / "audio", root / "three")
    assert load_corpus(root).labels == ("one", "two")


def test_metadata_with_byte_order_mark_and_blank_cells(metadata_folder: Maker) -> None:
    lines = "\ufefffile_name,label\n" + "".join(f"audio/{i}.flac, {'ab'[i % 2]} \n" for i in range(8))
    corpus = load_corpus(metadata_folder(lines))
    assert corpus.labels == ("a", "b")
    assert corpus.speakers == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("file_name,label", "name,label"), "Missing: file_name"),
        (
            ("audio/2.flac", "../2.flac"),
            r"line 4: file_name must lie in the corpus's folder. Received: ../2.flac",
        ),
        (("audio/2.flac", "/etc/hostname"), "must lie in the corpus's folder. Received: /etc/hostname"),
        (("audio/2.flac", "audio/1.flac"), "audio/1.flac listed more than once"),
        (("audio/2.flac", "audio/./1.flac"), "audio/1.flac listed more than once"),
        (("audio/2.flac", "audio/gone.flac"), "no such file: audio/gone.flac"),
        (("audio/2.flac,one", "audio/2.flac,"), "line 4: label is empty"),
        (("audio/2.flac", ""), "line 4: file_name is empty"),
        (("s2,train", "s2,validation"), "split must be train or test. Received: validation"),
        (("s2,train", "s2,"), "2.flac has no split while others have one"),
        (("two,s3,test", "three,s3,test"), "one clip only in class 'three'"),
        ((",test", ",train"), "the split puts no clip into test"),
        ((",train", ",test"), "the split puts no clip into train"),
        (("two,s0,train", "two,s0,test"), None),
    ],
)
def test_metadata_mistakes_are_one_clear_line(
    metadata_folder: Maker, change: tuple[str, str], message: str | None
) -> None:
    root = metadata_folder(GOOD.replace(*change))
    if message is None:  # a class may be rare in train, as long as it is there
        assert len(load_corpus(root).split("test")) == 3
        return
    with pytest.raises(DataError, match=message) as caught:
        load_corpus(root)
    assert "\n" not in str(caught.value)


def test_class_absent_from_train(metadata_folder: Maker) -> None:
    lines = GOOD.replace(",two,s0,train", ",two,s0,test").replace(",two,s1,train", ",two,s1,test")
    root = metadata_folder(lines.replace(",two,s2,train", ",two,s2,test"))
    with pytest.raises(DataError, match="class 'two' is in test but not in train"):
        load_corpus(root)


def test_metadata_that_is_not_text(metadata_folder: Maker) -> None:
    root = metadata_folder(GOOD)
    (root / "metadata.csv").write_bytes(b"\xff\xfe\x00file_name\x00")
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        load_corpus(root)


def test_class_subfolders(class_folder: Maker) -> None:
    root = class_folder()
    (root / ".cache").mkdir()
    (root / "one" / ".hidden.wav").write_bytes(b"")
    (root / "one" / "notes.txt").write_text("not audio")
    (root / "one" / "loop").symlink_to(root, target_is_directory=True)
    corpus = load_corpus(root)
    assert corpus.labels == ("one", "six", "two")
    assert len(corpus.clips) == 18
    assert Counter(clip.label for clip in corpus.split("test")) == {"one": 1, "two": 1, "six": 1}
    assert "at random" in corpus.note


def test_split_depends_on_the_seed_only(class_folder: Maker) -> None:
    root = class_folder()
    assert load_corpus(root, seed=3).clips == load_corpus(root, seed=3).clips
    assert len({load_corpus(root, seed=seed).clips for seed in range(5)}) > 1
    assert len(load_corpus(root, test_share=0.5).split("test")) == 9


def test_train_and_test_subfolders(class_folder: Maker) -> None:
    root = class_folder("whole/train")
    (root.parent / "test").mkdir()
    for folder in root.iterdir():
        shutil.copytree(folder, root.parent / "test" / folder.name)
    corpus = load_corpus(root.parent)
    assert corpus.labels == ("one", "six", "two")
    assert (len(corpus.split("train")), len(corpus.split("test"))) == (18, 18)


def test_loose_recordings(class_folder: Maker) -> None:
    root = class_folder()
    shutil.copy(next((root / "one").glob("*.flac")), root / "loose.flac")
    with pytest.warns(CepscopeWarning, match="1 recordings beside the class subfolders"):
        assert len(load_corpus(root).clips) == 18
    for label in ("one", "two", "six"):
        shutil.rmtree(root / label)
    with pytest.raises(DataError, match="without labels"):
        load_corpus(root)


def test_folders_that_are_no_corpus(tmp_path: Path, class_folder: Maker) -> None:
    with pytest.raises(DataError, match="holds no recordings"):
        load_corpus(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load_corpus(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        load_corpus(tmp_path / "file")
    with pytest.raises(DataError, match="one class only \\('one'\\)"):
        load_corpus(class_folder("a", labels=("one",)))
    root = class_folder("b", labels=("one", "two"))
    for path in sorted((root / "two").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match="one clip only in class 'two'"):
        load_corpus(root)


def test_parameters() -> None:
    with pytest.raises(ParameterError, match="test_share"):
        load_corpus("spoken-digits", test_share=1.0)
    with pytest.raises(ParameterError, match="seed"):
        load_corpus("spoken-digits", seed=-1)


def test_unknown_side(digits: Corpus) -> None:
    with pytest.raises(ParameterError, match="Received: 'dev'"):
        digits.split("dev")  # type: ignore[arg-type]


def test_a_checksum_follows_content_and_labels_whoever_reads(
    class_folder: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cepscope.corpora.checksum.PART", 3)
    corpus = load_corpus(class_folder())
    told: list[tuple[int, int]] = []
    first = corpus_checksum(corpus, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(corpus.clips), len(corpus.clips))
    assert corpus_checksum(corpus, workers=Workers(count=2)) == first
    clip = corpus.clips[4]
    renamed = replace(clip, speaker="another")
    assert corpus_checksum(replace(corpus, clips=[*corpus.clips[:4], renamed, *corpus.clips[5:]])) != first
    clip.path.write_bytes(clip.path.read_bytes() + b"\0")
    assert corpus_checksum(corpus) != first
