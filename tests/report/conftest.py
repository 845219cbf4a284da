"""A page's content made of real clips of the built-in corpus, 82 units of three layers; pages in a real browser."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.audio import condition, read_audio
from cepscope.features import CoefficientScaler, MfccSpec, fit_length, mfcc
from cepscope.report import Exemplar, ReportContent, UnitCard

FRAMES = 64
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LAYERS = (("crbm1", 24), ("crbm2", 48), ("logits", 10))


def _clips(root: Path) -> list[dict[str, str]]:
    with (root / "metadata.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    speakers = sorted({row["speaker"] for row in rows})[:4]
    return [row for row in rows if row["speaker"] in speakers and row["file_name"].endswith("_0.flac")]


def _history() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for k, layer in enumerate(("crbm1", "crbm2")):
        for epoch in range(1, 11):
            decay = np.exp(-epoch / 3)
            rows.append(
                {
                    "layer": layer,
                    "epoch": epoch,
                    "reconstruction_error": 0.4 + 0.2 * k + 0.5 * decay,
                    "free_energy_gap": -2.0 - k + 3 * decay,
                    "hidden_activity": 0.08 + 0.1 * decay,
                }
            )
    for epoch in range(1, 31):
        decay = np.exp(-epoch / 6)
        rows.append(
            {
                "epoch": epoch,
                "loss": 2.2 * decay + 0.03,
                "accuracy": 0.99 - 0.85 * decay,
                "val_loss": 2.0 * decay + 0.11,
                "val_accuracy": 0.972 - 0.8 * decay,
            }
        )
    return rows


def _scores(rng: np.random.Generator, layer: str, place: int) -> dict[str, Any]:
    ratio = float(rng.lognormal(0.5 if layer == "logits" else -0.05, 0.3))
    kept = float(np.clip(rng.normal(0.92, 0.07), 0, 1.1))
    scores: dict[str, Any] = {
        "natural_max": float(rng.uniform(2, 9)),
        "pattern_over_natural": ratio / kept,
        "sound_over_natural": ratio,
        "retention": kept,
        "naturalness_z": float(rng.normal(-0.6, 1.0)),
        "mfcc_relative_error": float(rng.uniform(0.01, 0.09)),
        "mcd_db": 20 * kept - 16,
        "hnr_db": 4 * ratio,
        "voiced_share": min(1.0, ratio / 2),
        "log_mel_range_db": 50 + 10 * kept,
        "gain": 0.89 / kept,
        "sound_class": "",
        "sound_right": None,
    }
    if place == 5:
        scores["sound_over_natural"] = 0.31
    if place == 9:
        scores["retention"] = 0.42
    if layer == "crbm2" and place == 3:
        scores |= {"sound_over_natural": float("nan"), "pattern_over_natural": float("nan")}
    return scores


def _kernel(rng: np.random.Generator, layer: str) -> np.ndarray | None:
    shape = {"crbm1": (5, 5), "crbm2": (14, 14)}.get(layer)
    if shape is None:
        return None
    rough = rng.normal(size=shape)
    for axis in (0, 1):  # a kernel of a trained layer is smooth
        rough = (np.roll(rough, 1, axis) + 2 * rough + np.roll(rough, -1, axis)) / 4
    return rough


@pytest.fixture(scope="session")
def content(project_root: Path) -> ReportContent:
    """82 units: class means and mixtures of real patches as patterns, the nearest real clips as sounds."""
    root = project_root / "data" / "spoken-digits"
    spec = MfccSpec(sr=16000, n_mfcc=20, floor=1e-5)
    rows = _clips(root)
    samples = spec.samples_of(FRAMES)
    sounds, patches = [], []
    for row in rows:
        y = condition(read_audio(root / row["file_name"], sr=spec.sr)[0])
        patches.append(fit_length(mfcc(y, spec), FRAMES, spec))
        start = max((len(y) - samples) // 2, 0)
        sounds.append(np.pad(y[start : start + samples], (0, max(samples - len(y), 0))))
    coefficients = np.stack(patches)
    scaler = CoefficientScaler.fit(coefficients)
    x = scaler.transform(coefficients)
    labels = np.array([row["label"] for row in rows])
    rng = np.random.default_rng(7)

    def card(layer: str, place: int) -> UnitCard:
        label = WORDS[place] if layer == "logits" else ""
        if label:
            pattern = 1.6 * x[labels == label].mean(axis=0)
        else:
            pattern = np.tensordot(rng.normal(size=3), x[rng.choice(len(x), 3, replace=False)], axes=1)
        distance = ((x - pattern) ** 2).sum(axis=(1, 2))
        best = distance.argsort()[:3]
        scores = _scores(rng, layer, place)
        if label:
            heard = "nine" if label == "five" else label
            scores |= {"sound_class": heard, "sound_right": heard == label}
        return UnitCard(
            unit=f"{layer}:{place}",
            layer=layer,
            index=place,
            label=label,
            filter=_kernel(rng, layer),
            pattern=pattern,
            mfcc=scaler.inverse_transform(pattern),
            audio=0.8 * sounds[best[0]],
            sr=spec.sr,
            scores=scores,
            exemplars=tuple(
                Exemplar(rows[i]["file_name"], rows[i]["label"], rows[i]["speaker"], 8.0 - k, x[i], sounds[i])
                for k, i in enumerate(best)
            ),
        )

    cards = tuple(card(layer, place) for layer, count in LAYERS for place in range(count))
    names = (
        "pattern_over_natural",
        "sound_over_natural",
        "retention",
        "naturalness_z",
        "mfcc_relative_error",
        "mcd_db",
        "hnr_db",
        "voiced_share",
        "log_mel_range_db",
        "gain",
    )
    medians = {
        layer: {
            "units": count,
            **{name: float(np.nanmedian([c.scores[name] for c in cards if c.layer == layer])) for name in names},
        }
        for layer, count in LAYERS
    }
    return ReportContent(
        title="spoken-digits",
        run={
            "settings": {
                "features": {"sr": 16000, "n_mfcc": 20},
                "model": {"kernel_sizes": ((5, 5), (5, 5))},
            },
            "versions": {"cepscope": "0.1.0", "numpy": np.__version__},
            "seed": 0,
            "timings": {"extract": 11.2, "train": 96.04, "maximize": 14.0},
        },
        corpus={
            "name": "spoken-digits",
            "clips": len(rows),
            "classes": WORDS,
            "speakers": sorted({row["speaker"] for row in rows}),
            "synthetic": True,
            "note": "speech synthesizers, no human speaks",
            "skipped": (),
        },
        spec=spec,
        frames=FRAMES,
        units=cards,
        history=_history(),
        summary={"test_accuracy": 0.9725, "layers": medians, "logit_sounds_right": "9/10"},
    )


@pytest.fixture(scope="session")
def many(content: ReportContent) -> ReportContent:
    """201 units, one more than fit into one file; two differ only in how they are spelled."""
    cards = [replace(content.units[i % 82], unit=f"crbm1:{i}", layer="crbm1") for i in range(200)]
    cards.append(replace(content.units[0], unit="CRBM1:0", layer="logits", label="<script>alert(1)</script>"))
    return replace(content, units=tuple(cards))


ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("no `chromium` on the PATH; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """An open page without a network, and all it complained of or asked for; what else a page can do, it can."""

    PLAYING = "[...document.querySelectorAll('audio')].map((a, i) => (a.paused ? -1 : i)).filter((i) => i >= 0)"

    def __init__(self, browser: Any, address: str, **settings: Any) -> None:
        self.address = address
        self.context = browser.new_context(offline=True, **{"viewport": {"width": 1366, "height": 768}, **settings})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url.split("#")[0]))
        self.page.goto(address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def until(self, condition: str) -> None:
        """Wait until an expression holds; `wait_for_function` would need `eval`, which the pages forbid."""
        for _ in range(750):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"not within 15 s: {condition}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def chosen(self) -> str:
        """Return the id of what has the focus."""
        return str(self.page.evaluate("document.activeElement.id"))

    def playing(self) -> list[int]:
        """Return the places of the players that sound, among all of the document."""
        return list(self.page.evaluate(self.PLAYING))

    def slowly(self, rate: float = 0.25) -> None:
        """Play at a part of the speed, so that a busy machine does not miss the end of a sound; from 1/16 on."""
        self.page.evaluate(
            "(() => { const { prototype } = HTMLMediaElement; const { play } = prototype;"
            f"prototype.play = function () {{ this.playbackRate = {rate}; return play.call(this); }}; }})()"
        )

    def barriers(self) -> dict[str, list[str]]:
        """Return what keeps people out after axe-core: rule -> the elements that break it."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
        found = axe.Axe().run(self.page).response["violations"]
        return {one["id"]: [node["html"][:160] for node in one["nodes"][:3]] for one in found}

    def close(self) -> None:
        """Leave; the page must not have complained, nor asked for anything but itself and its own files."""
        self.context.close()
        assert self.complaints == []
        own = self.address.split("#")[0]
        files = own.rsplit("/", 1)[0] + "/media/"
        assert [url for url in self.requests if url != own and not url.startswith(("data:", files))] == []


@pytest.fixture
def visits(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Open a page: ``visits(address, **settings of the browser's context)``."""
    opened: list[Visit] = []

    def visit(address: str, **settings: Any) -> Visit:
        opened.append(Visit(browser, address, **settings))
        return opened[-1]

    yield visit
    for one in opened:
        one.close()
