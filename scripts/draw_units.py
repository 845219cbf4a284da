"""Before and after: what units prefer by the plain recipe, and in the space of speech, as spectra and as sound.

    python scripts/draw_units.py RUN --out units.png

RUN is the folder of a finished run. Of its network 12 filters, evenly spread over the layers, and the logits are drawn,
four pictures each: the log-mel spectra behind the pattern of the plain recipe (normalised gradient from noise) and
behind the pattern in the space of speech, the spectrogram of its sound, and that of the real clip that excites the unit
most.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

FILTERS = 12
RANGE_DB = 60.0
NAMES = ("plain recipe", "in speech", "its sound", "real clip")


def draw(run: Path, out: Path, seed: int) -> None:
    """Draw the units of a run."""
    from cepscope.atomic import load_npz
    from cepscope.audio import read_audio
    from cepscope.corpora import Patches
    from cepscope.features import mfcc_to_log_mel
    from cepscope.maximize.engine import maximize
    from cepscope.maximize.patterns import Patterns
    from cepscope.models import load_model
    from cepscope.report.raster import spectrogram_db

    patches = Patches.load(run / "features")
    model = load_model(run / "model" / "model.keras")
    patterns = Patterns.load(run / "patterns" / "patterns.npz")
    files = load_npz(run / "audio" / "sounds.npz")["files"]
    best = load_npz(run / "patterns" / "exemplars.npz")["index"][:, 0]
    last = patterns.layers[-1]
    filters = [i for i, layer in enumerate(patterns.layers) if layer != last]
    chosen = [filters[i] for i in np.linspace(0, len(filters) - 1, FILTERS).astype(int)]
    chosen += [i for i, layer in enumerate(patterns.layers) if layer == last]
    plain = maximize(model, patches, objectives=[patterns.units[i] for i in chosen], mode="classic", seed=seed)

    columns = 2
    rows = -(-len(chosen) // columns)
    figure, axes = plt.subplots(rows, 4 * columns, figsize=(16, 1.25 * rows), layout="constrained", squeeze=False)
    seconds = (patches.frames - 1) * patches.spec.hop / patches.spec.sr
    for place, i in enumerate(chosen):
        sound, sr = read_audio(run / "audio" / str(files[i]))
        clip = patches.load_wave(patches.test.paths[best[i]])
        pictures: list[Any] = [
            mfcc_to_log_mel(plain.mfcc[place], patches.spec),
            mfcc_to_log_mel(patterns.mfcc[i], patches.spec),
            spectrogram_db(sound, sr),
            spectrogram_db(clip, sr),
        ]
        row, column = place % rows, 4 * (place // rows)
        index = patterns.indices[i]
        name = f"{patterns.units[i]} {patches.classes[index] if patterns.layers[i] == last else ''}"
        for k, (axis, picture) in enumerate(zip(axes[row, column : column + 4], pictures, strict=True)):
            top = float(picture.max())
            axis.imshow(
                picture, origin="lower", aspect="auto", cmap="magma", vmin=top - RANGE_DB, vmax=top,
                extent=(0, seconds, 0, 1 if k < 2 else sr / 2000),
            )  # fmt: skip
            axis.tick_params(labelsize=5, labelbottom=row == rows - 1)
            axis.set_yticks([] if k < 2 else [0, sr / 4000])
            if row == 0:
                axis.set_title(NAMES[k], fontsize=8)
            if k == 0:
                axis.set_ylabel(name, fontsize=6)
            if row == rows - 1:
                axis.set_xlabel("s", fontsize=6)
    figure.suptitle(f"Log-mel spectra and spectrograms (kHz), {RANGE_DB:g} dB below their maximum", fontsize=9)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--out", type=Path, default=Path("units.png"))
    parser.add_argument("--seed", type=int, default=0, help="of the plain recipe's noise")
    options = parser.parse_args()
    if not (options.run / "patterns" / "exemplars.npz").is_file():
        parser.exit(1, f"There is no finished run at {options.run}; make one with cepscope run.\n")
    draw(options.run, options.out, options.seed)
    print(options.out)


if __name__ == "__main__":
    main()
