"""Who is who by TF_CONFIG, without TensorFlow."""

from __future__ import annotations

import json

import pytest

from cepscope.errors import ParameterError
from cepscope.models.cluster import EXAMPLE, Worker, this_worker


def test_the_example_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert this_worker() == Worker(0, 1)
    monkeypatch.setenv("TF_CONFIG", EXAMPLE)
    assert this_worker() == Worker(0, 2)
    monkeypatch.setenv("TF_CONFIG", EXAMPLE.replace('"index": 0', '"index": 1'))
    assert this_worker() == Worker(1, 2)
    assert not this_worker().is_chief
    monkeypatch.setenv("TF_CONFIG", "{}")  # as some schedulers leave it
    assert this_worker() == Worker(0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[1]",
        '{"cluster": {"worker": ["a:1"]}}',
        EXAMPLE.replace('"index": 0', '"index": 2'),
        EXAMPLE.replace('"type": "worker"', '"type": "ps"'),
        json.dumps({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}),
    ],
)
def test_anything_else_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ParameterError, match="TF_CONFIG must name all workers"):
        this_worker()
