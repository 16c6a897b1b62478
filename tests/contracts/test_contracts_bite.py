"""A contract that nothing can break is none: each check refuses a transform that breaks it, and no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from flyweight.contracts import Candidate, Change, Env
from flyweight.testing import TransformContract
from flyweight.testing import _networks as networks


@dataclass(frozen=True)
class Scaled:
    """Multiply the last layer's weights; keeps the contract, as long as none of the switches is on."""

    factor: float = 2.0
    breaks: str = ""
    name: ClassVar[str] = "scaled"
    tolerance: ClassVar[float] = 0.0

    @property
    def exact(self) -> bool:
        return self.breaks == "exact"

    def requires(self, candidate: Candidate) -> None:
        if candidate.quantization and self.breaks != "requires":
            from flyweight.errors import TransformError

            raise TransformError("transform 'scaled': the candidate is quantized already.")

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        import copy

        if self.breaks != "apply":
            self.requires(candidate)
        module = candidate.module if self.breaks == "in place" else copy.deepcopy(candidate.module)
        last = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)][-1]
        with torch.no_grad():
            if self.breaks != "nothing":
                last.weight.mul_(self.factor)
            if self.breaks == "random":
                last.weight.add_(torch.rand(1))
            if self.breaks == "infinite":
                last.weight.fill_(float("inf"))
        if self.breaks == "training":
            module.train()
        layers = () if self.breaks == "layers" else ("head.classify",)
        settings = {} if self.breaks == "settings" else dataclasses.asdict(self)
        edited = candidate.having(Change(self.name, settings, layers, "1", "2"), module=module)
        if self.breaks == "mean":
            edited = replace(edited, preprocessing=replace(edited.preprocessing, mean=(0.0, 0.0, 0.0)))
        return replace(edited, history=edited.history[-1:]) if self.breaks == "history" else edited


CHECKS: dict[str, str] = {
    "in place": "test_input_is_not_touched",
    "infinite": "test_output_runs_on_its_own_input_shape",
    "mean": "test_preprocessing_fits_the_spec",
    "layers": "test_change_is_not_empty",
    "settings": "test_change_is_not_empty",
    "nothing": "test_something_changes",
    "history": "test_history_grows_by_one",
    "exact": "test_exact_transform_keeps_the_outputs",
    "random": "test_same_seed_gives_the_same_network",
    "training": "test_result_is_in_eval_mode",
    "requires": "test_requires_refuses_an_unfit_candidate",
    "apply": "test_apply_refuses_an_unfit_candidate",
}


def check(name: str, transform: Scaled) -> None:
    """Run one check of the contract as pytest would."""
    env = Env(seed=1)
    method: Callable[..., None] = getattr(TransformContract(), name)
    if name == "test_requires_refuses_an_unfit_candidate":
        method(transform, networks.bare())
    elif name == "test_apply_refuses_an_unfit_candidate":
        method(transform, networks.bare(), env)
    else:
        method(transform, networks.segmenter(), env)


@pytest.mark.parametrize(("breaks", "name"), CHECKS.items())
def test_contract_refuses(breaks: str, name: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(name, Scaled(breaks=breaks))


@pytest.mark.parametrize("name", sorted(set(CHECKS.values())))
def test_contract_accepts_what_keeps_it(name: str) -> None:
    check(name, Scaled())


def test_every_check_but_that_of_the_dataclass_is_shown_to_bite() -> None:
    checks = {name for name in dir(TransformContract) if name.startswith("test_")}
    assert checks - set(CHECKS.values()) == {"test_settings_are_a_frozen_dataclass"}
