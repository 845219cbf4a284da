"""Other ways to show the same unit, side by side with its pattern.

Erhan, Bengio, Courville, Vincent 2009 ("Visualizing higher-layer features of a deep network", Technical Report 1341)
compare activation maximization with samples from the clamped unit and with the linear combination of lower filters;
Borowski et al. 2021 (ICLR) find that people learn more from real exemplars than from made patterns. A unit whose views
agree is a unit that one can say something about.

==================  ===================================================================================================
``pattern``         what activation maximization found
``exemplar``        the real held-out clip that excites the unit most, at one place
``combination``     the filters below, added up with the unit's weights
``samples``         mean of what the network imagines while the unit is held on (convolutional RBMs)
``reconstruction``  the exemplar, sent up to the unit's layer and down again (convolutional RBMs)
==================  ===================================================================================================

A filter sees a part of a patch at each place of its map, so its views are looked at where the unit fires most.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cepscope.atomic import load_npz, save_npz
from cepscope.errors import CorruptArtifactError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]

VIEWS = ("pattern", "exemplar", "combination", "samples", "reconstruction")
EXEMPLAR = VIEWS.index("exemplar")


@dataclass(frozen=True)
class Views:
    """Every view of every unit, with the part of it that the unit sees.

    Attributes
    ----------
    units : tuple of str
    x : array [shape=(units, views, rows, frames)]
        Scaled patches in the order of `VIEWS`, each counted from what it would be for no unit in particular: patterns
        and exemplars from the mean of real speech, samples from those with nothing held on, reconstructions from the
        mean of those of real clips; a combination is a direction anyway. NaN where a unit has no such view.
    fields : array [shape=(units, views, 4)]
        First and last row + 1, first and last frame + 1 of what the unit sees at `places`.
    places : array [shape=(units, views, 2)]
        Where on its map the unit is looked at; -1 where there is no map, or no second axis.
    activation : array [shape=(units, views)]
        Of the unit at that place by the view's field alone, as long a way from the mean of speech as the exemplar's,
        over that of the exemplar's field; both above the mean of speech.
    """

    units: tuple[str, ...]
    x: FloatArray
    fields: IntArray
    places: IntArray
    activation: FloatArray

    def __len__(self) -> int:
        return len(self.units)

    def crop(self, unit: int, view: int) -> FloatArray:
        """Return what a unit sees of a view: (rows, frames) of its receptive field."""
        top, bottom, start, stop = self.fields[unit, view]
        return self.x[unit, view, top:bottom, start:stop]

    def save(self, path: str | Path) -> None:
        """Write everything to one npz file, whole or not at all."""
        arrays = {name: getattr(self, name) for name in ("x", "fields", "places", "activation")}
        save_npz(Path(path), units=np.array(self.units, dtype=np.str_), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Views:
        """Read what `save` wrote; CorruptArtifactError if it is damaged."""
        data = load_npz(path)
        try:
            return cls(units=tuple(str(name) for name in data.pop("units")), **data)
        except (TypeError, KeyError) as error:
            raise CorruptArtifactError(f"{path} can't be read as views. Run `cepscope probe` again.") from error
