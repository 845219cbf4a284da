"""Activation maximization of every unit of a CDBN, side by side with tf-keras-vis and with the loop everybody writes.

Speed does not depend on what the network has learned, so its weights are random.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bench_timing import Run, busy_elsewhere, sgemm_run, turns

FloatArray = npt.NDArray[np.float32]

STEPS = 64
SAMPLE = 2  # units a layer that climb one by one; a unit's time does not depend on which it is
EVERYTHING_OFF: dict[str, Any] = {"input_modifiers": None, "regularizers": None}  # of tf-keras-vis
LAYERS = ("crbm1", "crbm2", "logits")


class Ascent:
    """The public call, which also notes how long the steps alone took.

    A call fits the space, measures real speech and compiles its loop before the first step is done, so the time from
    its first report of progress to its last, scaled to all steps, is that of the loop and of nothing else.
    """

    def __init__(self, model: Any, patches: Any, **settings: Any) -> None:
        self.model, self.patches, self.settings = model, patches, settings
        self.loops: list[float] = []  # seconds, one a call, the first of which warms up

    def __call__(self) -> None:
        """Call `maximize` and note the loop's time."""
        import cepscope

        reports: list[tuple[int, float]] = []
        cepscope.maximize(
            self.model,
            self.patches,
            steps=STEPS,
            progress=lambda done, _: reports.append((done, time.perf_counter())),
            **self.settings,
        )
        (first, start), (last, end) = reports[0], reports[-1]
        if first == last:
            raise RuntimeError("Progress was reported once only, so the loop can't be told from what comes before it.")
        self.loops.append((end - start) / (last - first) * STEPS)


def keras_vis_run(model: Any, seeds: dict[str, FloatArray], **settings: Any) -> Run:
    """Climb with tf-keras-vis: one call a layer, with one seed and one score for each of its units."""
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayer
    from tf_keras_vis.utils.scores import CategoricalScore

    searches = [
        (ActivationMaximization(model, ExtractIntermediateLayer(name)), CategoricalScore(list(range(len(seed)))), seed)
        for name, seed in seeds.items()
    ]

    def run() -> None:
        for search, score, seed in searches:
            search(score, seed_input=seed, steps=STEPS, **settings)

    return run


def classic_run(model: Any, layer: str, seed: FloatArray) -> Run:
    """Climb as everybody writes it: a few units of one layer, one after the other, each step from Python."""
    from cepscope.models.backend import keras, tf

    part = keras.Model(model.inputs[0], model.get_layer(layer).output)

    def run() -> None:
        for unit in range(SAMPLE):
            x = tf.constant(seed[unit : unit + 1])
            for _ in range(STEPS):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    activation = tf.reduce_mean(part(x)[..., unit])
                gradient = tape.gradient(activation, x)
                x += gradient / (tf.sqrt(tf.reduce_mean(gradient**2)) + 1e-8)

    return run


def ascent_of(forward: Callable[[Any], Any], x: FloatArray) -> Run:
    """Return a compiled loop of nothing but `forward` and its gradient with respect to the input."""
    from cepscope.models.backend import tf

    width = forward(tf.constant(x[:1])).shape[-1]
    select = tf.constant(np.eye(width, dtype=np.float32)[np.arange(len(x)) % width])  # one unit a pattern

    @tf.function(jit_compile=False)
    def loop(x: Any) -> Any:
        for _ in tf.range(STEPS):
            with tf.GradientTape() as tape:
                tape.watch(x)
                score = tf.reduce_sum(forward(x) * select)
            x += 1e-3 * tape.gradient(score, x)
        return x

    start = tf.constant(x)
    return lambda: loop(start).numpy()


def forward_flops(model: Any) -> float:
    """Floating-point operations of one pattern's way up: two for each weight at each place of the hidden maps."""
    flops = 0.0
    for name in LAYERS:
        layer = model.get_layer(name)
        places = np.prod(layer.map_shape(layer.input.shape)) if hasattr(layer, "map_shape") else 1
        flops += 2.0 * float(places) * float(np.prod(layer.kernel.shape))
    return flops


def bench_maximize(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Compare the ascents of all 82 units of the CDBN, with equal steps."""
    import cepscope as cs
    from cepscope.maximize import unit_reader
    from cepscope.maximize.transforms import Transforms
    from cepscope.models.backend import keras, tf

    tf.get_logger().setLevel("ERROR")  # a note that functions are compiled anew, once a call
    patches = cs.extract(cs.load_corpus("spoken-digits"), cs.MfccSpec(sr=16000, n_mfcc=20, floor=1e-5))
    model = cs.build_cdbn(patches.input_shape, patches.classes)
    reader = unit_reader(model)
    count = len(reader.terms)
    widths = {name: sum(unit.layer == name for unit in reader.terms) for name in LAYERS}
    x = np.random.default_rng(0).standard_normal((count, *patches.input_shape)).astype(np.float32)
    seeds = {name: x[:width] for name, width in widths.items()}

    ours, bare = Ascent(model, patches), Ascent(model, patches, priors={}, transforms=Transforms())
    sgemm, sgemm_flops = sgemm_run()
    logits = keras.Model(model.inputs[0], model.get_layer("logits").output)
    elsewhere = busy_elsewhere()
    found = turns(
        {
            "cepscope": ours,
            "bare": bare,
            "network": ascent_of(lambda x: logits(x, training=False), x),  # up to the logits, down to the input
            "units": ascent_of(reader.read, x),  # the same, with the pre-activations of all units
            "sgemm": sgemm,
            "tf_keras_vis": keras_vis_run(model, seeds),
            "tf_keras_vis_bare": keras_vis_run(model, seeds, **EVERYTHING_OFF),
            **{f"classic_{name}": classic_run(model, name, seed) for name, seed in seeds.items()},
        },
        rounds,
    )
    others = elsewhere()
    times = {name: np.array(values) for name, values in found.items()}
    times |= {"loop": np.array(ours.loops[1:]), "loop_bare": np.array(bare.loops[1:])}
    times["classic_one_by_one"] = sum(times[f"classic_{name}"] / SAMPLE * width for name, width in widths.items())
    flops = 2 * forward_flops(model) * count * STEPS  # the way down to the input costs what the way up does
    times["at_sgemm_speed"] = flops / sgemm_flops * times["sgemm"]

    def ratio(one: str, other: str, digits: int = 2) -> float:
        return round(float(np.median(times[one] / times[other])), digits)  # of the same round: they share its weather

    # by elimination: what each part adds to the one before
    step = {
        "all": times["loop"],
        "network": times["network"],
        "reading_all_units": times["units"] - times["network"],
        "space_reach_and_adam": times["loop_bare"] - times["units"],
        "priors": times["loop"] - times["loop_bare"],
    }
    shown = ("cepscope", "loop", "loop_bare", "tf_keras_vis", "tf_keras_vis_bare", "classic_one_by_one")
    out: dict[str, Any] = {
        "vs_tf_keras_vis": ratio("tf_keras_vis", "loop"),
        "vs_classic_one_by_one": ratio("classic_one_by_one", "loop"),
        "prior_overhead": ratio("loop", "loop_bare", 3),
        "seconds_per_pattern": round(float(np.median(times["cepscope"])) / count, 4),
        "flop_share": ratio("network", "loop", 3),  # the same operations in another time
        "sgemm_share": ratio("at_sgemm_speed", "loop", 3),
        "network_sgemm_share": ratio("at_sgemm_speed", "network", 3),
        "whole_call_vs_tf_keras_vis": ratio("tf_keras_vis", "cepscope"),
        "whole_call_vs_classic_one_by_one": ratio("classic_one_by_one", "cepscope"),
        "bare_vs_bare_tf_keras_vis": ratio("tf_keras_vis_bare", "loop_bare"),
        "units": count,
        "steps": STEPS,
        "rounds": rounds,
        "cores_busy_elsewhere": others,
        "classic_units_measured": SAMPLE * len(LAYERS),
        "gflops": round(flops / float(np.median(times["loop"])) / 1e9, 1),
        "sgemm_gflops": round(sgemm_flops / float(np.median(times["sgemm"])) / 1e9, 1),
        "step_ms": {name: round(1e3 * float(np.median(value)) / STEPS, 2) for name, value in step.items()},
        "seconds": {name: round(float(np.median(times[name])), 3) for name in shown},
    }
    say(f"{count} units, {STEPS} steps: {out['seconds_per_pattern']} s a pattern, fitting and compiling included")
    for name, value in out["seconds"].items():
        say(f"   {name:20}{value:8.2f} s{ratio(name, 'loop'):8.2f} x the loop")
    say("   a step of {all} ms: network {network}, reading all units {reading_all_units}".format(**out["step_ms"]))
    say("      space, reach and Adam {space_reach_and_adam}, priors {priors}".format(**out["step_ms"]))
    say(f"   {out['flop_share']:.1%} of the network's own speed, {out['sgemm_share']:.1%} of an sgemm peak")
    say(f"   other processes kept {others} cores busy")
    return out
