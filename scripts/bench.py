"""Speed, side by side with peers in one process.

    pip install -e '.[bench]'
    python scripts/bench.py extract --json
    python scripts/bench.py train --json
    python scripts/bench.py maximize --json
    python scripts/bench.py invert --json
    python scripts/bench.py invert-more --json

Install a PyTorch for CPUs: triton, which comes with the builds for GPUs, brings an LLVM that aborts beside that of
TensorFlow.

The peers take turns with cepscope, round by round, so that a busy machine slows both down; each figure is a median.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench_maximize import bench_maximize
from bench_timing import Run, alternate, sgemm_run

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """One CRBM to train: its input, kernels and blocks, and how much data there is."""

    height: int
    width: int
    channels: int
    filters: int
    kernel: tuple[int, int]
    pool: tuple[int, int]
    batch: int
    patches: int
    visible: str = "gaussian"

    @property
    def map(self) -> tuple[int, int]:
        """Height and width of the hidden map, cropped to whole blocks."""
        (kh, kw), (p, q) = self.kernel, self.pool
        return (self.height - kh + 1) // p * p, (self.width - kw + 1) // q * q

    @property
    def flops(self) -> float:
        """Floating-point operations a patch that CD-1 can't do without: two passes up, one down, two correlations."""
        (kh, kw), (h, w) = self.kernel, self.map
        return 5 * 2.0 * h * w * self.filters * kh * kw * self.channels

    def data(self) -> FloatArray:
        """Return patches (n, height, width, channels)."""
        x = np.random.default_rng(0).standard_normal((self.patches, self.height, self.width, self.channels))
        return (x > 0 if self.visible == "binary" else x).astype(np.float32)


SHAPES = {
    "20x32x1_n128": Shape(20, 32, 1, 24, (5, 5), (2, 2), 128, 4096),
    "20x32x1_n512": Shape(20, 32, 1, 24, (5, 5), (2, 2), 512, 4096),
    "40x100x1_n64": Shape(40, 100, 1, 64, (5, 5), (2, 2), 64, 1024),
    "layer2": Shape(14, 14, 24, 64, (5, 5), (2, 2), 128, 1024, "binary"),
    "full_height": Shape(20, 64, 1, 64, (20, 6), (1, 3), 512, 4096),
    "lee_audio": Shape(80, 68, 1, 300, (80, 6), (1, 3), 128, 2048),
}
LEARNERGY = ("20x32x1_n128", "20x32x1_n512", "40x100x1_n64", "layer2", "full_height")
TORCH = ("20x32x1_n128", "lee_audio")
SGEMM = {"layer2": "layer2", "full_height": "full_height", "one_channel": "20x32x1_n512"}
LEARNING_RATE, MOMENTUM = 0.01, 0.5


def cepscope_run(shape: Shape) -> Run:
    """Train with cepscope's public fit, pooling and sparsity on."""
    from cepscope.models import ConvolutionalRBM, CRBMTrainer
    from cepscope.models.backend import keras
    from cepscope.models.batches import EpochBatches

    rbm = ConvolutionalRBM(shape.filters, shape.kernel, pool_size=shape.pool, visible=shape.visible)
    trainer = CRBMTrainer(rbm, sparsity=0.05, sparsity_cost=1.0)
    batches = EpochBatches(shape.data(), batch_size=shape.batch, seed=0, drop_remainder=True)
    trainer.prepare((shape.batch, shape.height, shape.width, shape.channels))
    trainer.compile(keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM))
    return lambda: trainer.fit(batches.dataset(), epochs=1, shuffle=False, verbose=0)


def cepscope_parts(shape: Shape) -> dict[str, Run]:
    """Return what one step is made of, each run by itself: the whole step, its products, its draws and means."""
    from cepscope.models import ConvolutionalRBM, CRBMTrainer
    from cepscope.models.backend import keras, tf

    rbm = ConvolutionalRBM(shape.filters, shape.kernel, pool_size=shape.pool, visible=shape.visible)
    trainer = CRBMTrainer(rbm, sparsity=0.05, sparsity_cost=1.0)
    v = tf.constant(shape.data()[: shape.batch])
    trainer.prepare(v.shape)
    trainer.compile(keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM))
    conv = rbm.convolution(v.shape)
    blocks = conv.up(rbm.columns(v, conv))

    def products(v: Any, blocks: Any) -> Any:
        conv = rbm.convolution(v.shape)
        columns = rbm.columns(v, conv)
        back = rbm.columns(rbm.visibles_from_blocks(blocks, v.shape, conv), conv)
        return conv.up(columns), conv.up(back), conv.correlate(columns, blocks), conv.correlate(back, blocks)

    def units(blocks: Any) -> Any:
        means = rbm.family.means(blocks)
        return rbm.family.sample(blocks, means, (0, 1)), rbm.family.means(blocks + 1.0)

    step, both, drawn = (tf.function(f) for f in (trainer.train_step, products, units))
    return {"step": lambda: step(v), "products": lambda: both(v, blocks), "units": lambda: drawn(blocks)}


def learnergy_run(shape: Shape) -> Run:
    """Train with learnergy's fit: no probabilistic pooling, no sparsity."""
    import torch
    from learnergy.models.bernoulli import ConvRBM
    from learnergy.models.gaussian import GaussianConvRBM

    logging.disable(logging.CRITICAL)
    kind = ConvRBM if shape.visible == "binary" else GaussianConvRBM
    model = kind(
        visible_shape=(shape.height, shape.width),
        filter_shape=shape.kernel,
        n_filters=shape.filters,
        n_channels=shape.channels,
        steps=1,
        learning_rate=LEARNING_RATE,
        momentum=MOMENTUM,
        decay=0,
        use_gpu=False,
    )
    x = torch.from_numpy(np.ascontiguousarray(shape.data().transpose(0, 3, 1, 2)))
    data = torch.utils.data.TensorDataset(x, torch.zeros(len(x)))
    return lambda: model.fit(data, batch_size=shape.batch, epochs=1)


class TorchCRBM:
    """The same step in plain PyTorch: CD-1 with exact sampling of blocks, sparsity on the biases, momentum."""

    def __init__(self, shape: Shape) -> None:
        import torch

        self.torch, self.shape = torch, shape
        self.generator = torch.Generator().manual_seed(0)
        self.kernel = 0.05 * torch.randn(shape.filters, shape.channels, *shape.kernel, generator=self.generator)
        self.biases = [torch.full((shape.filters,), -1.0), torch.zeros(shape.channels)]
        self.momenta = [torch.zeros_like(w) for w in (self.kernel, *self.biases)]
        h, w = shape.map
        x = shape.data().transpose(0, 3, 1, 2)[:, :, : h + shape.kernel[0] - 1, : w + shape.kernel[1] - 1]
        if shape.kernel[0] == shape.height:  # rows as channels: far faster than one channel with high kernels
            x = x.reshape(len(x), -1, 1, x.shape[-1])
            self.kernel = self.kernel.reshape(shape.filters, -1, 1, shape.kernel[1])
            self.biases[1] = torch.zeros(self.kernel.shape[1])
            self.momenta = [torch.zeros_like(weight) for weight in (self.kernel, *self.biases)]
        self.x = torch.from_numpy(np.ascontiguousarray(x))

    def probabilities(self, v: Any) -> Any:
        """Return P(h | v) with the units of a block first, (p*q, n, K, h, w)."""
        torch, (p, q) = self.torch, self.shape.pool
        inputs = torch.nn.functional.conv2d(v, self.kernel, self.biases[0])
        blocks = torch.stack([inputs[:, :, i::p, j::q] for i in range(p) for j in range(q)])
        top = blocks.amax(dim=0).clamp_(min=0)
        weights = torch.exp_(blocks - top)
        return weights.div_(torch.exp(-top) + weights.sum(dim=0))

    def to_map(self, blocks: Any) -> Any:
        """Return blocks as a map (n, K, h*p, w*q)."""
        (p, q), (h, w) = self.shape.pool, self.shape.map
        parts = blocks.view(p, q, -1, self.shape.filters, h // p, w // q)
        return parts.permute(2, 3, 4, 0, 5, 1).reshape(-1, self.shape.filters, h, w)

    def correlate(self, v: Any, hidden: Any) -> Any:
        """Return the sum of products in the kernel's shape."""
        backward = self.torch.ops.aten.convolution_backward
        two = [1, 1]
        return backward(hidden, v, self.kernel, [0], two, [0, 0], two, False, [0, 0], 1, [False, True, False])[1]

    def step(self, v: Any) -> None:
        """Take one step on a batch."""
        torch, shape = self.torch, self.shape
        p0 = self.probabilities(v)
        under = (torch.rand(p0.shape[1:], generator=self.generator) < p0.cumsum(dim=0)).float()
        h0 = torch.cat([under[:1], under[1:] - under[:-1]])
        mean = torch.nn.functional.conv_transpose2d(self.to_map(h0), self.kernel) + self.biases[1][:, None, None]
        v1 = mean + torch.randn(mean.shape, generator=self.generator)
        p1, p0 = self.to_map(self.probabilities(v1)), self.to_map(p0)
        places = len(v) * shape.map[0] * shape.map[1]
        activity = p0.sum(dim=(0, 2, 3)) / places
        gradients = (
            (self.correlate(v1, p1) - self.correlate(v, p0)) / places + 1e-4 * self.kernel,
            p1.sum(dim=(0, 2, 3)) / places - activity + (activity - 0.05),
            (v1.sum(dim=(0, 2, 3)) - v.sum(dim=(0, 2, 3))) / places,
        )
        for weight, momentum, gradient in zip((self.kernel, *self.biases), self.momenta, gradients, strict=True):
            momentum.mul_(MOMENTUM).sub_(LEARNING_RATE * gradient)
            weight.add_(momentum)

    def epoch(self) -> None:
        """Go once through the data, in random order."""
        with self.torch.no_grad():
            order = self.torch.randperm(len(self.x), generator=self.generator)
            for batch in order.split(self.shape.batch):
                self.step(self.x[batch])


def bench_train(rounds: int, only: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Compare the training of single CRBMs; see the module's text for the peers."""
    out: dict[str, Any] = {"vs_learnergy": {}, "vs_torch": {}, "sgemm_share": {}, "images_per_second": {}, "bound": {}}
    sgemm, flops = sgemm_run()
    for name, shape in SHAPES.items():
        if only and name not in only:
            continue
        runs = {"cepscope": cepscope_run(shape), "sgemm": sgemm}
        if name in LEARNERGY:
            try:
                runs["learnergy"] = learnergy_run(shape)
                runs["learnergy"]()
            except Exception as error:
                runs.pop("learnergy", None)
                out["vs_learnergy"][name] = f"refused: {error}"
                say(f"{name}: learnergy refuses this shape: {error}")
        if name in TORCH:
            runs["torch"] = TorchCRBM(shape).epoch
        found = alternate(runs, rounds)
        rates = {run: shape.patches / found[run] for run in runs if run != "sgemm"}
        peak = flops / found["sgemm"]
        for peer in ("learnergy", "torch"):
            if peer in rates:
                out[f"vs_{peer}"][name] = round(rates["cepscope"] / rates[peer], 2)
        out["images_per_second"][name] = {run: round(rate) for run, rate in rates.items()}
        parts = alternate(cepscope_parts(shape), rounds)
        share = shape.batch / parts["step"] * shape.flops / peak
        for key in [key for key, value in SGEMM.items() if value == name]:
            out["sgemm_share"][key] = round(share, 3)
        batches = shape.patches // shape.batch
        bound = {
            "sgemm_gflops": round(peak / 1e9),
            "step_ms": round(1e3 * parts["step"], 2),
            "products_ms": round(1e3 * parts["products"], 2),
            "draws_and_means_ms": round(1e3 * parts["units"], 2),
            "fit_overhead_ms": round(1e3 * (found["cepscope"] / batches - parts["step"]), 2),
        }
        out["bound"][name] = bound
        peers = ", ".join(f"{run} {rate:.0f}/s" for run, rate in rates.items())
        say(f"{name}: {peers}; {share:.1%} of an sgemm peak of {peak / 1e9:.0f} GFLOP/s")
        say("   a step of {step_ms} ms: {products_ms} products, {draws_and_means_ms} draws and means".format(**bound))
    return out


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["extract", "train", "maximize", "invert", "invert-more"])
    parser.add_argument("--json", action="store_true", help="print JSON to stdout, and what is going on to stderr")
    parser.add_argument("--rounds", type=int, default=5, help="of each figure that is a median")
    parser.add_argument(
        "--only", action="append", default=[], choices=list(SHAPES), help="train this shape; may be repeated"
    )
    options = parser.parse_args()
    if options.only and options.what != "train":
        parser.error("--only is for train")
    stream = sys.stderr if options.json else sys.stdout

    def say(text: str) -> None:
        print(text, file=stream, flush=True)

    if options.what == "train":
        found = bench_train(options.rounds, options.only, say)
    elif options.what == "extract":
        from bench_extract import bench_extract

        found = bench_extract(options.rounds, say)
    elif options.what == "maximize":
        found = bench_maximize(options.rounds, say)
    else:
        from bench_invert import bench_invert, bench_invert_more

        found = bench_invert(options.rounds, say) if options.what == "invert" else bench_invert_more()
    if options.json or options.what.startswith("invert"):
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
