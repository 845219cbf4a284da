"""Settings of strangers: as large, as deep and as odd as TOML allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cepscope.config import RunConfig, load_config, to_toml
from cepscope.config.reading import MOST_BYTES, parse_set
from cepscope.errors import CepscopeError, DataError, ParameterError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = " + "[" * 5000 + "]" * 5000, "nests deeper than any setting does"),
        ("a = " + "{a=" * 3000 + "1" + "}" * 3000, "nests deeper than any setting does"),
        ("seed = " + "[" * 300 + "]" * 300, r"seed must be a whole number. Received: \[+\.\.\.$"),
        (".".join("a" * 4000) + " = 1", r"there is no setting 'a(\.a)+'; nearest: "),
        ("x" * 20_000 + " = 1", r"there is no setting 'x{80}\.\.\.'; nearest: "),
        ("seed = " + "9" * 5000, "is not TOML: Exceeds the limit"),
        ("seed = " + "9" * 4000, r"seed must be less than 4294967296. Received: 9{80}\.\.\."),
        ('seed = "' + "y" * 20_000 + '"', r"seed must be a whole number. Received: \"y{79}\.\.\."),
        ("seed = 1e400", "seed must be a whole number. Received: Infinity"),
        ("[train]\nepochs = 1000000000000", "train.epochs must be"),
        ("[features]\nn_fft = 1000000000000", "features.n_fft must be"),
        ("[model]\nfilters = [{a = 1}]", r"model.filters \(entry 0\) must be a whole number"),
        ('"a\\nb" = 1', r"there is no setting 'a\\nb'"),
        (
            "seed = 1\n" + "#" * MOST_BYTES,
            rf"must be settings of at most {MOST_BYTES} bytes. Received: {MOST_BYTES + 9}",
        ),
    ],
)
@pytest.mark.timeout(30)  # dotted keys took longer than that
def test_hostile_settings_are_one_short_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ParameterError, match=says) as caught:
        load_config(tmp_path / "a.toml", environment={})
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_a_file_that_goes_on_for_ever_is_not_read() -> None:
    with pytest.raises((ParameterError, DataError)):
        load_config("/proc/kcore" if Path("/proc/kcore").exists() else "/dev", environment={})


@pytest.mark.parametrize("text", ["seed=" + "[" * 5000, "seed=" + "9" * 5000, "seed=" + "{a=" * 3000])
def test_a_setting_on_the_command_line(text: str) -> None:
    name, value = parse_set(text)
    assert (name, value) == ("seed", text.removeprefix("seed="))
    with pytest.raises(ParameterError, match="seed must be a whole number"):
        load_config(overrides=[text], environment={})


def test_a_corpus_of_a_person_who_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('corpus = "~nobody-of-this-name/words"')
    assert load_config(tmp_path / "a.toml", environment={}).corpus == str(tmp_path / "~nobody-of-this-name" / "words")


WHOLE = to_toml(RunConfig())


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, len(WHOLE)), st.integers(0, 30), st.text(max_size=8) | st.sampled_from(["[", "{", '"', "nan", "-1"])
)
def test_any_change_of_a_settings_file_is_read_or_one_line(tmp_path: Path, at: int, lost: int, put: str) -> None:
    changed = WHOLE[:at] + put + WHOLE[at + lost :]
    (tmp_path / "a.toml").write_bytes(changed.encode("utf-8", "surrogatepass"))
    try:
        config = load_config(tmp_path / "a.toml", environment={})
    except CepscopeError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert load_config(overrides=[f"seed={config.seed}"], environment={}).seed == config.seed
