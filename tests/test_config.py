from __future__ import annotations

import inspect
import math
from pathlib import Path

import pytest

from cepscope.config import RunConfig, load_config, setting_names, to_toml
from cepscope.errors import DataError, ParameterError
from cepscope.features import FRONT_ENDS, MfccSpec, front_end


def load(*overrides: str, **more: object) -> RunConfig:
    return load_config(overrides=overrides, **{"environment": {}, **more})


def test_settings_survive_their_own_toml(tmp_path: Path) -> None:
    config = load(
        'report.title="tab\\t quote\\" line\\n é"', "features.top_db=inf", "features.floor=1e-10", "strict=true",
        "maximize.layers=['crbm1', 'logits']", "model.filters=[3]", "model.kernel_sizes=[[20, 7]]",
        "model.pool_sizes=[[1, 3]]", "seed=7",
    )  # fmt: skip
    assert config.features.top_db == math.inf
    assert config.model.kernel_sizes == ((20, 7),)
    file = tmp_path / "run.toml"
    file.write_text(to_toml(config, notes={"features.sr": "8000"}), encoding="utf-8")
    assert load_config(file, environment={}) == config


def test_flags_beat_environment_beats_file_beats_defaults(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("seed = 1\n[train]\nepochs = 11\nshift = 1\nlearning_rate = 0.5\n")
    environment = {"CEPSCOPE_TRAIN_EPOCHS": "12", "CEPSCOPE_TRAIN_SHIFT": "2", "CEPSCOPE_SHARED": "not ours"}
    config = load_config(file, overrides=["train.epochs=13"], flags={"seed": 4}, environment=environment)
    train = config.train
    assert (train.epochs, train.shift, train.learning_rate, train.k) == (13, 2, 0.5, 1)
    assert config.seed == 4
    assert load_config(file, flags={"seed": None}, environment={}).seed == 1


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("train.epoch=3", "train.epochs"),
        ("epochs=3", "train.epochs"),
        ("train.dropout=0.5", "model.dropout"),
        ("feature.n_mfc=13", "features.n_mfcc"),
    ],
)
def test_an_unknown_setting_names_the_nearest(wrong: str, nearest: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=f"nearest: {nearest}$"):
        load(wrong)
    (tmp_path / "a.toml").write_text(wrong)
    with pytest.raises(ParameterError, match=f"a.toml: .* nearest: {nearest}$"):
        load_config(tmp_path / "a.toml", environment={})


def test_an_unknown_variable_of_a_section_names_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r"CEPSCOPE_TRAIN_EPOCH .*nearest: CEPSCOPE_TRAIN_EPOCHS"):
        load_config(environment={"CEPSCOPE_TRAIN_EPOCH": "3"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("train.epochs=many", r"train.epochs must be a whole number. Received: \"many\""),
        ("train.epochs=2.5", "train.epochs must be a whole number"),
        ("seed=-1", "seed must be greater than or equal to 0. Received: -1"),
        ("invert.method=sung", "'accurate', 'fast', 'neutral' or 'librosa'"),
        ("maximize.layers=crbm1", "maximize.layers must be 'all' or a list of layers"),
        ("model.filters=[8]", "one entry a layer. Received: 1, 2 and 2"),
        ("model.kernel_sizes=[[5, 5], [3]]", r"entry 1.*pair of whole numbers"),
        ("features.n_mfcc=41", "at most features.n_mels=40"),
        ("features.floor=nan", "features.floor must be a finite number"),
        ("features.log=log10", "features.log must be 'db' or 'ln'. Received: \"log10\""),
        ("features.c0=2", "features.c0 must be true or false. Received: 2"),
        ("train=3", "'train' is a section"),
        ("train.epochs", "name=value"),
        ("corpus=", "corpus must not be empty"),
    ],
)
def test_a_wrong_value_is_one_line(wrong: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        load(wrong)
    assert "\n" not in str(caught.value)


def test_text_needs_no_quotes_and_hides_nothing() -> None:
    assert load("report.title=123").report.title == "123"
    assert load("report.title=a = b\nseed = 5") == load('report.title="a = b\\nseed = 5"')


def test_a_file_that_is_no_toml_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("seed = = 3")
    with pytest.raises(ParameterError, match="is not TOML"):
        load_config(tmp_path / "a.toml", environment={})
    with pytest.raises(DataError, match="can't read the settings"):
        load_config(tmp_path / "b.toml", environment={})


def test_a_corpus_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.toml").write_text('corpus = "../mine"')
    assert load_config("deep/a.toml", environment={}).corpus == str(tmp_path / "mine")
    assert load("corpus=mine").corpus == str(tmp_path / "mine")
    assert load("corpus=spoken-digits").corpus == "spoken-digits"


def test_the_front_end_takes_the_corpus_rate_up_to_16_khz() -> None:
    assert [load().features.spec(rate).sr for rate in (8000, 16000, 44100)] == [8000, 16000, 16000]
    assert load("features.sr=11025").features.spec(44100).sr == 11025
    with pytest.raises(ParameterError, match="fmax"):
        load("features.fmax=6000").features.spec(8000)


def test_every_kind_of_logarithm_and_c0_can_be_set() -> None:
    spec = load("features.log=ln", "features.c0=false", "features.n_mels=26", "features.n_mfcc=12").features.spec(8000)
    assert (spec.log, spec.c0, spec.orders.tolist()) == ("ln", False, list(range(1, 13)))
    spec = load().features.spec(8000)
    assert (spec.log, spec.c0) == ("db", True)


def test_without_c0_one_order_fewer_is_there() -> None:
    assert not load("features.c0=false", "features.n_mfcc=39").features.c0
    with pytest.raises(ParameterError, match=r"^features.c0 must be true where n_mfcc is n_mels=40.*Received: false$"):
        load("features.n_mfcc=40", "features.c0=false")
    with pytest.raises(ParameterError, match=r"^features.n_mfcc must be at most features.n_mels=40. Received: 41$"):
        load("features.n_mfcc=41", "features.c0=false")


def test_defaults_are_those_of_the_rooms() -> None:
    """A room's default and a run's may only differ on purpose: else the notebook and the command disagree."""
    from cepscope.invert.inversion import invert
    from cepscope.maximize.engine import maximize
    from cepscope.maximize.priors import BUILDERS, DEFAULT_PRIORS
    from cepscope.maximize.transforms import DEFAULT_TRANSFORMS, Transforms
    from cepscope.models import build_cdbn, fit_classifier, pretrain

    config = RunConfig()
    train = config.train.model_dump()
    pairs = [
        (build_cdbn, config.model.network()),
        (fit_classifier, {name: train[name] for name in ("epochs", "batch_size", "learning_rate", "shift")}),
        (pretrain, {"epochs": train["pretrain_epochs"], "learning_rate": train["pretrain_learning_rate"]}),
        (pretrain, {name: train[name] for name in ("k", "persistent", "sparsity", "sparsity_cost")}),
        (maximize, config.maximize.model_dump(exclude={"priors", "transforms"})),
        (invert, config.invert.arguments()),
    ]
    for room, settings in pairs:
        parameters = inspect.signature(room).parameters
        assert {name: parameters[name].default for name in settings} == settings, room.__name__
    priors = config.maximize.priors.model_dump()
    assert {name: weight for name, weight in priors.items() if weight} == DEFAULT_PRIORS
    assert set(priors) == set(BUILDERS)
    assert Transforms(**config.maximize.transforms.model_dump()) == DEFAULT_TRANSFORMS


def test_every_setting_is_written() -> None:
    lines = to_toml(RunConfig()).splitlines()
    assert sum(" = " in line for line in lines) == len(setting_names()) > 40


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_front_end_is_taken_whole_and_what_is_set_changes_it(name: str, tmp_path: Path) -> None:
    config = load(f"features.front_end={name}")
    assert config.features.spec(8000) == front_end(name)  # at its own rate
    assert config.features.frames == 64
    changed = load("features.n_mfcc=9", "features.floor=1e-5", "features.sr=8000", f"features.front_end={name}")
    assert changed.features.spec(44100) == front_end(name, n_mfcc=9, floor=1e-5, sr=8000)
    for each in (config, changed):  # a run keeps every setting, so that it says them all
        (tmp_path / "run.toml").write_text(to_toml(each))
        assert load_config(tmp_path / "run.toml", environment={}) == each


def test_another_front_end_wins_over_single_settings_from_farther_away(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(to_toml(load("features.front_end=htk", "features.n_mfcc=9", "features.frames=32")))
    again = load_config(file, overrides=["features.front_end=htk"], environment={})
    assert again.features.n_mfcc == 9  # the same one: nothing to replace
    other = load_config(file, overrides=["features.front_end=kaldi", "features.fmin=60"], environment={})
    assert other.features.spec(8000) == front_end("kaldi", fmin=60)
    assert other.features.frames == 32
    environment = {"CEPSCOPE_FEATURES_FRONT_END": "librosa"}
    third = load_config(file, environment=environment, flags={"features.sr": 8000})
    assert third.features.spec(16000) == front_end("librosa", sr=8000)


def test_sr_0_is_the_rate_of_the_front_end() -> None:
    assert load("features.front_end=librosa", "features.sr=0").features.spec(8000).sr == 22050


def test_without_a_front_end_every_setting_of_a_spec_can_be_set() -> None:
    features = load().features
    assert features.spec(16000) == MfccSpec(floor=1e-5)
    assert set(MfccSpec().to_dict()) == set(features.model_dump()) - {"front_end", "frames", "whiten"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["features.front_end=sphinx"], r"features.front_end must be '', 'librosa', .* Received: \"sphinx\"$"),
        (["features.front_end=kaldi", "features.sr=16k"], r"features.sr must be a whole number. Received: \"16k\"$"),
        (["features.front_end=htk", "features.n_mfcc=27"], r"n_mfcc must be at most features.n_mels=26. Received: 27$"),
        (["features.power=3"], "features.power must be 1 or 2. Received: 3$"),
        (["features.window=hanning"], "features.window must be 'hann', .* Received: \"hanning\"$"),
        (["features.preemphasis=1"], "features.preemphasis must be less than 1. Received: 1$"),
    ],
)
def test_a_wrong_setting_of_a_front_end_is_one_line(wrong: list[str], message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        load(*wrong)
    assert "\n" not in str(caught.value)
