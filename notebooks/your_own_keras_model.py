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
# # Your own Keras model
#
# A network that knows nothing of cepscope, and the sounds that its units listen for. All that cepscope asks: one input,
# frames of MFCC or log-mel bands, layers of Keras' own. First we play the part of its maker.

# %%
import logging
from dataclasses import replace

from IPython.display import display

import cepscope as cs
from cepscope.models.adapting import adapt, difference, first_filters
from cepscope.models.feeding import frame_map, infer_feed
from cepscope.report import plot_filters, plot_mfcc

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each further graph
corpus = cs.load_corpus("spoken-digits")
corpus = replace(corpus, clips=corpus.clips[::2])  # one of the two takes of each digit by each voice
spec = cs.MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)
patches = cs.extract(corpus, spec, frames=56)

# %%
import keras

keras.utils.set_random_seed(0)
layers = keras.layers
theirs = keras.Sequential(
    [
        keras.Input((56, 13)),  # time first: 56 frames of 13 MFCC
        layers.Conv1D(16, 5, name="conv1"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling1D(2),
        layers.Conv1D(24, 5, activation="relu", name="conv2"),
        layers.GlobalMaxPooling1D(),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax", name="digits"),
    ]
)
theirs.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
x, x_test = (side.x[..., 0].transpose(0, 2, 1) for side in (patches.train, patches.test))  # standardised MFCC
theirs.fit(x, patches.train.y, batch_size=16, epochs=15, verbose=0)
print(f"held-out accuracy {theirs.evaluate(x_test, patches.test.y, verbose=0)[1]:.2f}")
theirs.save("net.keras")

# %% [markdown]
# Now ours. The file is read in Keras' safe mode: nothing in it is run. Which axis is time and what a frame holds is
# found out from its input, or asked for where it is not clear. What can't be seen in a file is how its MFCC were
# scaled; here `"standard"`, mean 0 and deviation 1 over the training clips.

# %%
net = cs.load_model("net.keras", compiled=False)
feed = infer_feed([net.input_shape[1:]], {"n_mfcc": 13, "n_mels": 40, "frames": 56})
frames = frame_map(patches, feed, scaling="standard")  # from a frame of ours to one of theirs
model = adapt(net, feed, frames, name="net")
print(feed)
print(f"outputs differ from those of the original by {difference(net, model, patches.test.x, feed, frames):.0e}")
print("layers:", ", ".join(layer.name for layer in model.layers))

# %% [markdown]
# The batch normalisation is gone: it was folded into `conv1`, so that a unit is what the ReLU sees. The filters of the
# first layer span all coefficients.

# %%
plot_filters(first_filters(model, feed)["conv1"], title="conv1: filters")

# %% [markdown]
# From here on it is like any other network.

# %%
patterns = cs.maximize(model, patches, layers=["conv1", "digits"])
sounds = cs.invert(patterns)
scores = cs.score_units(model, patches, patterns, sounds)
for name, layer in scores.summary()["layers"].items():
    numbers = ", ".join(f"{key} {layer[key]:.2f}" for key in ("sound_over_natural", "retention", "naturalness_z"))
    print(f"{name} ({layer['units']} units), medians: {numbers}")

# %%
digits = [i for i, layer in enumerate(patterns.layers) if layer == "digits"]
for i in digits[:2]:
    display(plot_mfcc(patterns.x[i], spec, title=f"what excites {patches.classes[patterns.indices[i]]!r} most"))
named = [f"{row['label']}: heard as {row['sound_class']}" for row in scores.rows if row["layer"] == "digits"]
replace(sounds[digits], names=tuple(named))

# %% [markdown]
# Sounds of `conv1`, which sees 5 frames at a time, are textures; those of the digits may remind of words, but a network
# that takes the maximum over time does not care when, or in which order, its parts come.
#
# The same in one line, from the file to the page:
#
#     cepscope maximize --model net.keras --data FOLDER --set model.scaling=standard --out runs/net
#
# and `--front-end tf-speech-commands` (or librosa, htk, kaldi, torchaudio) where another front end made its MFCC: a
# network that is fed others than it was trained with still gives numbers, but they mean little.
