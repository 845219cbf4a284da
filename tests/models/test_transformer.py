"""The scikit-learn face: scikit-learn's own checks, and a pipeline on real digits."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from cepscope.errors import ParameterError
from cepscope.models import ConvolutionalRBM
from cepscope.models.transformer import CDBNTransformer

Array = npt.NDArray[Any]


def _rows(count: int = 60) -> Array:
    return np.random.default_rng(0).normal(3, 2, (count, 6 * 8))


@pytest.mark.slow
@pytest.mark.timeout(900)  # some fifty trainings
def test_scikit_learn_accepts_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks that scikit-learn itself skips are announced as warnings
        check_estimator(CDBNTransformer(epochs=1, filters=(4,)))


def test_features_are_the_layers_mean_field() -> None:
    x = _rows()
    settings: dict[str, Any] = {
        "patch_shape": (6, 8), "filters": (3, 5), "kernel_sizes": ((3, 3), (2, 2)), "pool_sizes": ((1, 2), (1, 1)),
        "epochs": 2, "random_state": 0,
    }  # fmt: skip
    found = CDBNTransformer(**settings, output="all").fit(x)
    scaled = ((x - x.mean(0)) / x.std(0)).reshape(-1, 6, 8, 1)
    value, parts = scaled, []
    for weights, pool in zip(found.weights_, ((1, 2), (1, 1)), strict=True):
        kernel = weights[0].shape
        rbm = ConvolutionalRBM(kernel[3], kernel[:2], pool_size=pool, visible="binary" if parts else "gaussian")
        rbm.build((None, *value.shape[1:]))
        rbm.set_weights(weights)
        if not parts:
            np.testing.assert_allclose(found.score_samples(x), -rbm.free_energy(value).numpy(), rtol=1e-4)  # float32
        value = rbm(value).numpy()
        parts.append(value.reshape(len(x), -1))
    np.testing.assert_allclose(found.transform(x), np.concatenate(parts, axis=1), rtol=1e-3, atol=1e-6)  # float32
    last = CDBNTransformer(**settings).fit(x)
    np.testing.assert_array_equal(last.transform(x), found.transform(x)[:, -parts[1].shape[1] :])
    assert len(last.get_feature_names_out()) == parts[1].shape[1]


def test_a_fitted_one_can_be_pickled_and_cloned() -> None:
    x = _rows()
    found = CDBNTransformer((6, 8), filters=(3,), epochs=1, random_state=1).fit(x)
    features = found.transform(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).transform(x), features)
    np.testing.assert_array_equal(clone(found).fit(x).transform(x), features)
    assert (clone(found).set_params(random_state=2).fit(x).transform(x) != features).any()


@pytest.mark.slow
def test_a_pipeline_reads_real_digits(digit_patches: Any) -> None:
    """Ten digits of voices that were not trained on; chance is .1."""
    train, test = digit_patches.train, digit_patches.test
    x, unseen = (part.x.reshape(len(part.x), -1) for part in (train, test))
    patch = train.x.shape[1:3]
    face = CDBNTransformer(patch, filters=(16,), epochs=2, standardize=False, random_state=0)
    pipeline = make_pipeline(face, LinearSVC(C=0.01))
    search = GridSearchCV(pipeline, {"cdbntransformer__pool_sizes": [((2, 2),), ((2, 4),)]}, cv=2)
    search.fit(x, train.y)
    assert search.score(unseen, test.y) > 0.6


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ParameterError, match="so 48 features"):
        CDBNTransformer((6, 8)).fit(np.zeros((4, 47)))
    with pytest.raises(ParameterError, match="`output` must be one of last, all"):
        CDBNTransformer(output="first").fit(_rows())
    with pytest.raises(ParameterError, match="one entry a layer"):
        CDBNTransformer(filters=(3, 4)).fit(_rows())


def test_parameters_changed_later_do_not_change_a_fitted_one() -> None:
    x = np.random.default_rng(0).standard_normal((40, 60))
    fitted = CDBNTransformer((6, 10), filters=(3,), kernel_sizes=((3, 3),), epochs=1, random_state=0).fit(x)
    before = fitted.transform(x)
    fitted.set_params(filters=(4,), pool_sizes=((1, 1),), output="all")
    np.testing.assert_array_equal(fitted.transform(x), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(x), before)
    assert len(fitted.get_feature_names_out()) == before.shape[1]
