# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Few labels
#
# What is learned without labels should pay most where labels are few. A CDBN is pretrained on recordings whose labels
# it never sees; then a linear classifier gets one, two, five or ten labelled clips of each class, on MFCC and on what
# the CDBN makes of them. Every representation is given the same clips.

# %%
import numpy as np
from IPython.display import Audio, display

import cepscope as cs
from cepscope.models import model_filters
from cepscope.probe import few_label_errors, represent
from cepscope.probe.fewlabels import draw_labels, gather
from cepscope.probe.representations import sounding
from cepscope.report import plot_filters, plot_mfcc
from cepscope.report.probe_plots import plot_few_labels

corpus = cs.load_corpus("spoken-digits")
spec = cs.MfccSpec(sr=8000, n_mfcc=20, floor=1e-5)
patches = cs.extract(corpus, spec)
print(patches, "voices in both sides:", len(set(patches.train.speakers) & set(patches.test.speakers)))

# %% [markdown]
# One label a class: these ten clips are all that the classifier is told.

# %%
chosen = draw_labels(patches.train.y, 1, draws=1)[0]
print(", ".join(f"{patches.classes[patches.train.y[i]]} ({patches.train.speakers[i]})" for i in chosen))
Audio(np.concatenate([patches.load_wave(patches.train.paths[i]) for i in chosen]), rate=spec.sr)

# %% [markdown]
# Filters that span all coefficients and 60 ms, as in Lee et al. 2009, trained on the training voices without labels.

# %%
model = cs.build_cdbn(
    patches.input_shape,
    patches.classes,
    filters=(96,),
    kernel_sizes=((20, 6),),
    pool_sizes=((1, 3),),
    visible_scale=0.5,
)
cs.pretrain(model, patches, epochs=10, batch_size=32)
plot_filters(model_filters(model)["crbm1"][:24], title="24 of the 96 filters")

# %% [markdown]
# A clip becomes a vector: four stretches of time, in each the largest value that a filter reaches (`reduce="max"`).
# Where a word sounds only for a part of its patch, some stretches are silence; `extents` divides what sounds instead,
# so that slow and fast words have the same number of stretches.

# %%
x = np.concatenate([patches.train.x, patches.test.x])
y = np.concatenate([patches.train.y, patches.test.y])
speakers = np.array(patches.train.speakers + patches.test.speakers)
train = np.arange(len(x)) < len(patches.train)
levels = patches.decode(x)[:, 0] / np.sqrt(spec.n_mels)  # dB: the first coefficient is the mean of the log-mel bands
extents = sounding(levels)
first, last = (extents[chosen[0]] - [0, 1]) * spec.hop / spec.sr
display(plot_mfcc(x[chosen[0]], spec, title=f"one clip; it sounds from {first:.2f} to {last:.2f} s"))
print(f"median share of a patch that sounds: {np.median(np.diff(extents)) / patches.frames:.0%}")

names = ["mfcc", "mfcc_pooled", "crbm1", "mfcc_pooled+crbm1", "random:crbm1"]
seen = represent(x, names, model=model, reduce="max", extents=extents)
seen["crbm1, whole patch"] = represent(x, ["crbm1"], model=model, reduce="max")["crbm1"]
print({name: features.shape[1] for name, features in seen.items()}, "features")

# %% [markdown]
# Tests are voices that no one has trained on. The same draws and the same tests for all, so differences are paired; the
# standard error counts draws and voices as samples.

# %%
sizes = (1, 2, 5, 10)
curves = gather([(few_label_errors(seen, y, train, ~train, sizes=sizes, draws=8), speakers[~train])], sizes)
shown = {name: (curves.error(name), curves.standard_error(name)) for name in seen}
plot_few_labels(sizes, shown, chance=0.9, title="digits of unknown voices")

# %%
print("error above that of pooled MFCC, in points (standard error)")
for name in seen:
    apart, spread = (100 * values for values in curves.difference(name, "mfcc_pooled"))
    print(f"{name:20}" + "".join(f"{a:8.1f} ({s:3.1f})" for a, s in zip(apart, spread, strict=True)))

# %% [markdown]
# Read it with its errors. Filters of one layer, beside pooled MFCC, save two or three errors in a hundred where there
# are five labels or more; with one or two labels nothing is certain. Without `extents` the gain seems lost, but there
# the standard error is larger than the difference. And `random:crbm1`, the same network with weights that were never
# trained, does as well as the trained one: here the gain is the architecture's, not the learning's. That is what
# controls are for (Saxe et al. 2011). More filters, more speech and real voices may give another answer; these are
# synthetic, and alike.
