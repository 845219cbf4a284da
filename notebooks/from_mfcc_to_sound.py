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
# # From MFCC to sound
#
# MFCC throw away the fine structure of the spectrum, the phases and the pitch. A sound made from them must make these
# up, so the question is not whether it is the recording, but whether a front end would take it for one: are *its* MFCC
# those that were asked for? No network is needed for this, and TensorFlow is not loaded.

# %%
import sys
import time

import numpy as np
from IPython.display import Audio, display

import cepscope as cs
from cepscope.audio import condition, read_audio
from cepscope.invert import feasibility_gap, track_pitch
from cepscope.report import plot_log_mel, plot_mfcc, plot_spectrogram

spec = cs.MfccSpec(sr=8000, n_mfcc=20, n_mels=40, floor=1e-5)
clips = {clip.path.stem: clip for clip in cs.load_corpus("spoken-digits").clips}
y = condition(read_audio(clips["seven_awb_0"].path, sr=spec.sr)[0])  # no DC, peak at 1
Audio(y, rate=spec.sr)

# %% [markdown]
# What the front end sees of it, 40 mel bands, and what it keeps, 20 coefficients of their cosine transform. The first
# of them is the level, far larger than the others.

# %%
C = cs.mfcc(y, spec)
display(plot_log_mel(y, spec, title="seven, by a voice of flite"))
plot_mfcc(C, spec, title="its MFCC; the level is beyond the scale", unit="dB", limit=60)

# %% [markdown]
# Three ways back. `librosa` is librosa's own inverse: a non-negative least-squares spectrum, then Griffin-Lim. `fast`
# and `accurate` start from a synthetic voice and correct it until its MFCC match; `accurate` takes more steps.
#
# The error is that of the MFCC that are extracted from the finished sound, relative to their variation over time: once
# with the sound at the level that suits it best, once with its peak at full scale, as every recording is brought to
# before a network sees it. librosa's inverse does not aim at the second.

# %%
names = ("seven_awb_0", "three_slt_0", "six_kal_0", "one_rms_0", "eight_f1_0", "nine_paul_0")
wanted = [cs.mfcc(condition(read_audio(clips[name].path, sr=spec.sr)[0]), spec) for name in names]
sounds = {}
print(f"{'median of 6 clips':20}{'error, best level':>18}{'at full scale':>15}{'seconds a clip':>16}")
for method in ("librosa", "fast", "accurate"):
    cs.invert(C, spec, method=method)  # the first call loads and compiles; not timed
    started = time.perf_counter()
    made = [cs.invert(one, spec, method=method, names=[method]) for one in wanted]
    seconds = (time.perf_counter() - started) / len(made)
    best, full = (np.median([getattr(one, name)[0] for one in made]) for name in ("relative_error", "normalised_error"))
    print(f"{method:20}{best:18.4f}{full:15.4f}{seconds:16.2f}")
    sounds[method] = made[0]

# %% [markdown]
# A small error is no promise of a pleasant sound, so listen. HNR is how far the harmonics of a voice rise above noise;
# librosa's sound has the envelope of the word, but no voice.

# %%
for made in sounds.values():
    display(made)

# %%
display(plot_spectrogram(y, spec, title="the recording"))
display(plot_spectrogram(sounds["librosa"].audio[0], spec, title="librosa: no harmonics"))
plot_spectrogram(sounds["accurate"].audio[0], spec, title="accurate: harmonics of a predicted pitch")

# %% [markdown]
# The voice's pitch is ours, predicted from the coefficients. Where there is a recording, its own can be followed; or
# there can be none at all. The MFCC fit each time: *they do not say which it was.*

# %%
own = cs.invert(C, spec, f0=track_pitch(y, spec), names=["with the recording's pitch"])
whispered = cs.invert(C, spec, excitation="whispered", names=["whispered"])
display(own)
whispered

# %% [markdown]
# Not every matrix is the MFCC of a sound. Here all but the level is doubled, as patterns of networks tend to be: bands
# would have to lie below the front end's floor. `feasibility_gap` is the error below which *no* sound can come; the
# rest is the method's.

# %%
for title, wanted in {"recording": C, "doubled": np.vstack([C[:1], 2 * C[1:]])}.items():
    error = cs.invert(wanted, spec).relative_error[0]
    print(f"{title:10} error {error:.3f}, of which no sound could spare {feasibility_gap(wanted, spec):.3f}")
print("TensorFlow loaded:", "tensorflow" in sys.modules)
