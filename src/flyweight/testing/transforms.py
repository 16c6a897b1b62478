"""What every transform must keep."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from flyweight.contracts import Candidate, Change, Env, Transform
from flyweight.errors import TransformError
from flyweight.testing import _networks as networks


class TransformContract:
    """Parametrize ``transform`` with instances that fit ``candidate``, such as a class's ``example()``."""

    @pytest.fixture
    def candidate(self, transform: Transform) -> Candidate:
        """A narrow v0 of the slimming ladder; where that does not fit, another narrow network; others: override it."""
        return networks.fitting(transform)

    @pytest.fixture
    def unfit(self) -> Candidate:
        """A candidate that the transform must refuse: no spec, no norms, quantized already."""
        return networks.bare()

    @pytest.fixture
    def env(self) -> Env:
        """Eight calibration images, and a seed."""
        return Env(calibration_images=networks.synthetic_images(8, networks.PIXELS), seed=3)

    def test_settings_are_a_frozen_dataclass(self, transform: Transform) -> None:
        """Its fields are its settings, and it can't be changed after it was made."""
        assert dataclasses.is_dataclass(type(transform))
        for name in _setting_names(transform):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(transform, name, None)

    def test_input_is_not_touched(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """Weights, flags, spec and history of the candidate given are as they were."""
        before = networks.snapshot(candidate)
        transform.requires(candidate)
        transform.apply(candidate, env)
        assert networks.snapshot(candidate) == before

    def test_output_runs_on_its_own_input_shape(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """The edited network runs; batch, rank and number of classes stay; all outputs are finite."""
        edited = transform.apply(candidate, env)
        old = networks.outputs(candidate, networks.inputs(candidate))
        new = networks.outputs(edited, networks.inputs(edited))
        assert new.shape[:2] == old.shape[:2]
        assert new.dim() == old.dim()
        assert torch.isfinite(new).all()

    def test_preprocessing_fits_the_spec(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """What images are brought to is what the network takes; mean and standard deviation stay."""
        edited = transform.apply(candidate, env)
        assert edited.preprocessing.mean == candidate.preprocessing.mean
        assert edited.preprocessing.std == candidate.preprocessing.std
        if edited.spec is not None:
            shape = (edited.spec.input.channels, edited.spec.input.height, edited.spec.input.width)
            assert edited.input_shape == (1, *shape)

    def test_change_is_not_empty(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """The change names the transform, every setting, the layers touched, and what was before and after."""
        change = _last_change(transform.apply(candidate, env))
        assert change.transform == transform.name
        assert change.layers
        assert change.before != change.after
        assert _setting_names(transform) <= set(change.settings)

    def test_something_changes(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """The spec, the modules, the weights or the precision differ."""
        before, after = networks.snapshot(candidate), networks.snapshot(transform.apply(candidate, env))
        history_index = 4  # the history grows by itself; it is no change of the network
        assert before.tensors != after.tensors or _without(before.rest, history_index) != _without(
            after.rest, history_index
        )

    def test_history_grows_by_one(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """Earlier changes stay, one is added."""
        earlier = Change("earlier", {}, ("conv1",), "a", "b")
        edited = transform.apply(dataclasses.replace(candidate, history=(earlier,)), env)
        assert edited.history[:-1] == (earlier,)
        assert len(edited.history) == 2

    def test_exact_transform_keeps_the_outputs(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """Where ``exact`` is claimed, outputs differ by at most ``tolerance`` of the largest."""
        if not transform.exact:
            assert transform.tolerance == 0.0, "a transform that is not exact promises no tolerance"
            return
        x = networks.inputs(candidate)
        old, new = networks.outputs(candidate, x), networks.outputs(transform.apply(candidate, env), x)
        assert new.shape == old.shape
        assert float((new - old).abs().max() / old.abs().max()) <= transform.tolerance

    def test_same_seed_gives_the_same_network(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """Applied twice, weights, spec and change are the same; the global random state does not matter."""
        first = transform.apply(candidate, env)
        torch.rand(7)
        second = transform.apply(candidate, env)
        assert networks.snapshot(first) == networks.snapshot(second)

    def test_result_is_in_eval_mode(self, transform: Transform, candidate: Candidate, env: Env) -> None:
        """No module of the result is in training mode."""
        assert not any(part.training for part in transform.apply(candidate, env).module.modules())

    def test_requires_refuses_an_unfit_candidate(self, transform: Transform, unfit: Candidate) -> None:
        """``requires`` raises TransformError, with the transform's name in it."""
        with pytest.raises(TransformError, match=transform.name):
            transform.requires(unfit)

    def test_apply_refuses_an_unfit_candidate(self, transform: Transform, unfit: Candidate, env: Env) -> None:
        """``apply`` checks what ``requires`` checks."""
        with pytest.raises(TransformError):
            transform.apply(unfit, env)


def _last_change(candidate: Candidate) -> Change:
    return candidate.history[-1]


def _setting_names(transform: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(transform)}


def _without(values: tuple[object, ...], index: int) -> tuple[object, ...]:
    return values[:index] + values[index + 1 :]
