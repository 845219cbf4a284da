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
# # Priors, and what they do to a pattern
#
# Activation maximization asks for the input that excites a unit most. Unrestrained, the answer is noise that no mouth
# can make. Here one unit, the logit of *seven*, is asked under four sets of rules.

# %%
import logging
from dataclasses import replace

import numpy as np
from IPython.display import display

import cepscope as cs
from cepscope.maximize import unit_activations
from cepscope.maximize.priors import DEFAULT_PRIORS, build_priors
from cepscope.report import plot_mfcc

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each further graph
corpus = cs.load_corpus("spoken-digits")
corpus = replace(corpus, clips=corpus.clips[::2])  # one of the two takes of each digit by each voice
spec = cs.MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)
patches = cs.extract(corpus, spec, frames=56)
model = cs.build_cdbn(patches.input_shape, patches.classes, filters=(12, 16))
cs.pretrain(model, patches, epochs=1)
history = cs.fit_classifier(model, patches, epochs=8)
print(f"held-out accuracy {history[-1]['val_accuracy']:.2f}")

# %% [markdown]
# `classic` climbs the plain gradient from noise. The other three search within the space of speech, principal
# components of real patches, in a ball about as large as speech: without priors, with the default ones, and with a
# heavy hand.

# %%
rules = {
    "classic": {"mode": "classic"},
    "no priors": {"priors": {}},
    "default": {"priors": DEFAULT_PRIORS},
    "heavy": {"priors": {"time_curvature": 1.0, "quefrency": 1.0, "patch_likelihood": 1.0}},
}
found = {name: cs.maximize(model, patches, objectives=["logits:seven"], **how) for name, how in rules.items()}
print("default weights:", dict(DEFAULT_PRIORS))
for name, pattern in found.items():
    display(plot_mfcc(pattern.x[0], spec, title=f"{name}: what excites 'seven' most"))

# %% [markdown]
# Every prior is scaled so that real speech scores 1 on average. `time_curvature` and `quefrency` measure roughness
# along time and frequency; `patch_likelihood` how far the likelihood of stretches of 80 ms is from that of speech.
# *Asked for* is the activation of the pattern and *heard* that of its sound: 0 is the mean of held-out clips, 1 the
# best of them.

# %%
sounds = {name: cs.invert(replace(pattern, units=(name,))) for name, pattern in found.items()}
asked = np.concatenate([pattern.x for pattern in found.values()])
heard = np.stack([patches.encode(sound.audio[0]) for sound in sounds.values()])
seven = patches.classes.index("seven")
every = unit_activations(model, np.concatenate([patches.test.x, asked, heard]), layers=["logits"])[:, seven]
real = every[: len(patches.test)]
share = ((every[len(real) :] - real.mean()) / (real.max() - real.mean())).reshape(2, -1)

judges = build_priors(dict.fromkeys(DEFAULT_PRIORS, 1.0), patches)
rough = [np.asarray(judge.prior(asked[..., 0])) for judge in judges]
print(f"{'':10}{'asked for':>10}{'heard':>8}{'MFCC error':>12}" + "".join(f"{name:>18}" for name in DEFAULT_PRIORS))
for i, (name, sound) in enumerate(sounds.items()):
    numbers = f"{name:10}{share[0, i]:10.2f}{share[1, i]:8.2f}{sound.relative_error[0]:12.2f}"
    print(numbers + "".join(f"{values[i]:18.2f}" for values in rough))

# %% [markdown]
# The classic pattern excites the unit most and can't be said: its sound keeps a fraction of what it promised. Within
# the space of speech every promise is kept. What priors then do is trade activation for smoothness: the default ones
# make a pattern as smooth as speech or smoother, and a heavy hand takes away much of what makes it a *seven*. Which is
# right depends on the question: the rougher ones say more about the network, the smoother ones more about speech.

# %%
for made in sounds.values():
    display(made)
