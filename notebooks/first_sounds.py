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
# # First sounds
#
# From a corpus of recordings to the sound that each unit of a network listens for. Everything here runs on two cores in
# about a minute; for real work use all of the corpus and the default settings.

# %%
import logging

import cepscope as cs
from cepscope.report import plot_mfcc

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each further graph
corpus = cs.load_corpus("spoken-digits")  # ten digits by synthetic voices; a folder of your own works the same way
corpus

# %% [markdown]
# MFCC patches: the level is taken out, the front end is librosa's, every patch has 64 frames, every coefficient unit
# variance.

# %%
spec = cs.MfccSpec(sr=8000, n_mfcc=20, floor=1e-5)
patches = cs.extract(corpus, spec)
patches

# %%
plot_mfcc(patches.test.x[0], spec, title=f"a real {patches.classes[patches.test.y[0]]}")

# %% [markdown]
# A convolutional deep belief network: two convolutional RBMs with probabilistic max pooling, trained greedily without
# labels, then fine-tuned with them. It is an ordinary `keras.Model`.

# %%
model = cs.build_cdbn(patches.input_shape, patches.classes, filters=(12, 16))
history = cs.pretrain(model, patches, epochs=1)
history += cs.fit_classifier(model, patches, epochs=6)
history[-1]

# %%
cs.visualize_filters(model, "crbm1")

# %% [markdown]
# The pattern that every unit prefers, all units in one batch, and back to sound.

# %%
patterns = cs.maximize(model, patches)
sounds = cs.invert(patterns)
scores = cs.score_units(model, patches, patterns, sounds)
scores.summary()

# %% [markdown]
# Listen to the ten logits. `retention` says how much of the pattern's activation its sound keeps, `sound_over_natural`
# how strongly the sound excites the unit, compared with the best real held-out clip.

# %%
logits = [i for i, layer in enumerate(patterns.layers) if layer == "logits"]
sounds[logits]

# %% [markdown]
# And everything on one page:

# %%
cs.write_report("first-sounds", model, patches, patterns, sounds, scores=scores, history=history)
