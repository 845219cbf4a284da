"""Random numbers that do not depend on how many devices share a batch.

Each device asks for its clips' share of a draw for all clips, and gets the numbers that one device alone would have
given them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cepscope.models.backend import tf


class Share(NamedTuple):
    """A seed whose draw is a share of a larger one.

    Attributes
    ----------
    seed : tensor of int [shape=(2,)]
        Of a stateless generator.
    whole : int or tensor
        Clips of the larger draw.
    first : int or tensor
        The first of them that is ours.
    axis : int
        Of clips, counted from the end.
    """

    seed: Any
    whole: Any
    first: Any
    axis: int


def uniform(shape: Any, seed: Any, **settings: Any) -> Any:
    """Draw uniform numbers as `tf.random.stateless_uniform` does; `seed` may be a `Share`."""
    if not isinstance(seed, Share):
        return tf.random.stateless_uniform(shape, seed, **settings)
    sizes = tf.unstack(tf.convert_to_tensor(shape))
    count, sizes[seed.axis] = sizes[seed.axis], tf.cast(seed.whole, sizes[0].dtype)
    drawn = tf.random.stateless_uniform(tf.stack(sizes), seed.seed, **settings)
    return tf.gather(drawn, tf.cast(seed.first, count.dtype) + tf.range(count), axis=seed.axis + len(sizes))


def split(seed: Any, count: int) -> list[Any]:
    """Make several seeds of one."""
    if not isinstance(seed, Share):
        return list(tf.unstack(tf.random.experimental.stateless_split(seed, count)))
    return [seed._replace(seed=own) for own in split(seed.seed, count)]
