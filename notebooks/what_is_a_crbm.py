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
# # What is a CRBM?
#
# A convolutional restricted Boltzmann machine is a model of patches of speech. A few small filters slide over the
# patch, hidden units say where each of them is present, and given these the patch has a mean: the sum of the filters at
# those places. It learns from speech alone, no labels. This notebook trains one layer and asks what it has learned.

# %%
from dataclasses import replace

import numpy as np
from IPython.display import Audio, display

import cepscope as cs
from cepscope.models import reconstruct, sample_unit
from cepscope.models.generation import reconstruction_errors, sample_layer
from cepscope.report import plot_filters, plot_history, plot_mfcc

corpus = cs.load_corpus("spoken-digits")
corpus = replace(corpus, clips=corpus.clips[::2])  # one of the two takes of each digit by each voice
spec = cs.MfccSpec(sr=8000, n_mfcc=20, floor=1e-5)
patches = cs.extract(corpus, spec)
patches

# %% [markdown]
# One layer of 16 filters, 5 coefficients by 9 frames (90 ms). Before training they are noise.

# %%
model = cs.build_cdbn(
    patches.input_shape, patches.classes, filters=(16,), kernel_sizes=((5, 9),), pool_sizes=((2, 2),), visible_scale=0.5
)
rbm = model.get_layer("crbm1")
before = rbm.kernel.numpy()[:, :, 0].transpose(2, 0, 1)  # (filters, coefficients, frames)
history = cs.pretrain(model, patches, epochs=12, batch_size=32, learning_rate=3e-3)
plot_history(history)

# %%
display(plot_filters(before, title="filters before training"))
cs.visualize_filters(model, "crbm1")

# %% [markdown]
# Trained filters are smooth along time: they hold a few coefficients up or down for some 50 ms, or let them rise or
# fall.
#
# The hidden units of a block of 2 x 2 compete: one of them is on, or none (probabilistic max pooling, Lee et al. 2009).
# So their probabilities add up to that of the pooling unit above them, which never exceeds 1.

# %%
clip = patches.test.x[:1]
hidden = rbm.mean_hiddens(clip).numpy()  # (1, rows, columns, filters)
blocks = hidden.reshape(1, hidden.shape[1] // 2, 2, hidden.shape[2] // 2, 2, 16).sum(axis=(2, 4))
print(f"largest sum of a block {blocks.max():.3f}; differs from the layer's output by {np.ptp(blocks - rbm(clip)):.1e}")
cs.visualize_feature_maps(model, "crbm1", clip[0])

# %% [markdown]
# Down again: the filters of what is on, added up. The layer keeps the course of the word and loses its detail; at the
# edges, which fewer filters see, the patch falls back to the mean of speech. Hear the recording, then its MFCC and what
# is left of them, both spoken by the voice that `invert` chooses.

# %%
lost = reconstruction_errors(model, patches.test.x, baseline=patches.train.x.mean(axis=0))["crbm1"]
back = reconstruct(model, clip)
label = patches.classes[patches.test.y[0]]
display(plot_mfcc(clip[0], spec, title=f"a held-out {label}"))
display(plot_mfcc(back[0], spec, title="the same, one layer up and down"))
print(f"Of the variance of all held-out clips {lost:.0%} is lost.")
display(Audio(patches.load_wave(patches.test.paths[0]), rate=spec.sr))
names = [f"{label}, from its MFCC", f"{label}, up and down"]
cs.invert(patches.decode(np.concatenate([clip, back])), spec, names=names)

# %% [markdown]
# A Boltzmann machine gives every patch a free energy: the lower, the more it looks like speech to it. A fair test is to
# play held-out clips backwards and to shuffle their frames, which changes neither level nor timbre, only order.

# %%
real = patches.test.x
shuffled = real[:, :, np.random.default_rng(0).permutation(real.shape[2])]
energy = {"real": real, "backwards": real[:, :, ::-1], "shuffled": shuffled}
energy = {name: rbm.free_energy(x).numpy() for name, x in energy.items()}
for name, values in energy.items():
    share = np.mean(energy["real"] < values)
    told = f"; {share:.0%} of clips have less of it forwards" if name != "real" else ""
    print(f"{name:10} free energy {values.mean():6.0f} nats{told}")

# %% [markdown]
# Order matters to it, direction hardly: a filter of 90 ms that rises is about as good for a word played backwards.
#
# Last, what it imagines: samples by Gibbs chains, with nothing held on and with one filter held on everywhere.

# %%
free = sample_layer(model, "crbm1", chains=16, steps=30)
strong = int(np.abs(rbm.kernel.numpy()).sum(axis=(0, 1, 2)).argmax())
held = sample_unit(model, "crbm1", strong, everywhere=True, chains=16, steps=30)
display(plot_mfcc(free[0], spec, title="a free sample"))
display(plot_mfcc(held.mean - free.mean(axis=0), spec, title=f"samples with filter {strong} on, less free ones"))
cs.invert(patches.decode(np.stack([free[0], held.samples[0]])), spec, names=["free", f"filter {strong} held on"])

# %% [markdown]
# One layer knows 90 ms, and nothing in it makes a word of such moments. That is what a second layer, and labels, are
# for.
