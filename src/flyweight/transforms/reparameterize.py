"""Parallel branches merged into the single convolution that computes the same."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from flyweight.blocks import BLOCKS
from flyweight.blocks._layers import HeadBuilder
from flyweight.blocks._reparam import Mergeable
from flyweight.build import stage_builder
from flyweight.contracts import Candidate, Change, Env
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec


@dataclass(frozen=True)
class Reparameterize:
    """Merge everything that is trained as a sum of linear branches: RepVGG's, MobileOne's and RepViT's blocks.

    The spec says so (``deploy``) wherever it was merged, so that it builds the merged network. Train before: the
    merged network computes the same, but its branches are what makes training better.
    Source: Ding et al. 2021 (arXiv 2101.03697), section 3.3.
    """

    name: ClassVar[str] = "reparameterize"
    exact: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-4

    def requires(self, candidate: Candidate) -> None:
        """Raise TransformError where nothing has parallel branches."""
        if not _mergeable(candidate.module):
            raise TransformError(
                "transform 'reparameterize': no layer here is a sum of parallel branches. Was it merged before? "
                "Blocks that have such layers: reparam_conv, reparam_separable, repvit."
            )

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        """Return a copy with the branches merged."""
        self.requires(candidate)
        module = copy.deepcopy(candidate.module)
        paths = _mergeable(module)
        for path in paths:
            layer = module.get_submodule(path)
            assert isinstance(layer, Mergeable)  # _mergeable() has checked it
            parent, _, name = path.rpartition(".")
            setattr(module.get_submodule(parent), name, layer.merged())
        change = Change(
            transform=self.name,
            settings={},
            layers=tuple(paths),
            before=f"{len(paths)} layers of parallel branches",
            after="each one convolution or fully connected layer",
        )
        spec = candidate.spec and deployed(candidate.spec)
        return candidate.having(change, module=module.eval(), spec=spec)

    @classmethod
    def example(cls) -> Reparameterize:
        """Return the only instance there is."""
        return cls()


def deployed(spec: ArchSpec) -> ArchSpec:
    """Return the spec of the merged network: ``deploy`` on, for every stage and head that has it."""
    stages = tuple(
        stage.with_settings(deploy=True) if "deploy" in stage_builder(stage).settings else stage
        for stage in spec.stages
    )
    builder = BLOCKS.get(spec.head.kind)
    merged = isinstance(builder, HeadBuilder) and "deploy" in builder.settings
    return spec.replace(stages=stages, head=spec.head.with_settings(deploy=True) if merged else spec.head)


def _mergeable(module: nn.Module) -> list[str]:
    return [path for path, part in module.named_modules() if path and isinstance(part, Mergeable)]


MEMBERS = {Reparameterize.name: Reparameterize}
