"""Pictures of filters: a unit's response to its picture's input must be the linear network's own."""

from __future__ import annotations

import numpy as np
import pytest

from cepscope.models.filters import linear_combinations


def _linear_response(x: np.ndarray, kernels: list[np.ndarray], pools: list[tuple[int, int]]) -> np.ndarray:
    """Slow correlation and mean pooling of one input (h, w), layer by layer."""
    maps = x[:, :, None]
    for depth, kernel in enumerate(kernels):
        kh, kw, _, filters = kernel.shape
        out = np.zeros((maps.shape[0] - kh + 1, maps.shape[1] - kw + 1, filters))
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = np.einsum("abc,abck->k", maps[i : i + kh, j : j + kw], kernel)
        maps = out
        if depth < len(kernels) - 1:
            p, q = pools[depth]
            h, w = maps.shape[0] // p, maps.shape[1] // q
            maps = maps[: h * p, : w * q].reshape(h, p, w, q, -1).mean(axis=(1, 3))
    return maps


@pytest.mark.parametrize(
    ("shapes", "pools"),
    [
        ([(3, 2, 1, 4), (2, 3, 4, 5)], [(2, 3), (1, 1)]),
        ([(2, 2, 1, 3), (2, 1, 3, 2), (1, 2, 2, 3)], [(2, 1), (1, 3), (2, 2)]),
        ([(4, 3, 1, 2)], [(2, 2)]),
    ],
)
def test_a_picture_is_the_gradient_of_the_linear_network(
    shapes: list[tuple[int, ...]], pools: list[tuple[int, int]]
) -> None:
    rng = np.random.default_rng(0)
    kernels = [rng.standard_normal(shape) for shape in shapes]
    pictures = linear_combinations(kernels, pools)
    for depth, picture in enumerate(pictures):
        field = rng.standard_normal(picture.shape[1:])  # exactly one receptive field
        response = _linear_response(field, kernels[: depth + 1], pools)
        assert response.shape[:2] == (1, 1)
        # float32 pictures of sums of at most a few hundred products
        np.testing.assert_allclose(response[0, 0], np.sum(picture * field, axis=(1, 2)), rtol=1e-4, atol=1e-4)
