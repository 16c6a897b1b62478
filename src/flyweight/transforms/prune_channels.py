"""Channels pruned by their filters' norms, with everything that is tied to them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import torch

from flyweight.contracts import Candidate, Change, Env
from flyweight.errors import TransformError
from flyweight.prune import CRITERIA, Evidence, Goal, Pruned, prune


@dataclass(frozen=True)
class PruneChannels:
    """Take away the least important channels, over the whole network, with what is tied to them.

    Groups of convolutions stay valid, outputs keep their shapes. A layer whose code fixes its number or order of
    channels is left whole. Works on any module; its layers keep their names.

    Args:
        macs: share of the multiply-accumulates that is left, about.
        multiple: of the channels that each layer keeps, where it loses some.
        criterion: what is unimportant, one that needs no data: l1, bn_scale, geometric_median or random.
    """

    name: ClassVar[str] = "prune_channels"
    exact: ClassVar[bool] = False
    tolerance: ClassVar[float] = 0.0

    macs: float = 0.5
    multiple: int = 1
    criterion: str = "l1"

    def __post_init__(self) -> None:
        """Raise TransformError for a share outside 0 to 1, a multiple under 1, or another criterion."""
        if not 0 < self.macs < 1 or self.multiple < 1:
            raise TransformError(
                f"transform 'prune_channels': macs={self.macs}, multiple={self.multiple}; macs must lie between 0 and "
                "1, multiple must be at least 1."
            )
        fit = [name for name, found in CRITERIA.items() if not found.needs_data]
        if self.criterion not in fit:
            raise TransformError(
                f"transform 'prune_channels': criterion='{self.criterion}'; it must be one of {', '.join(fit)}."
            )

    def requires(self, candidate: Candidate) -> None:
        """Raise TransformError where nothing can be pruned, or the network is quantized already."""
        self._pruned(candidate, Env())

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        """Return a copy without those channels. Its spec is that of the network as it was."""
        found = self._pruned(candidate, env)
        before, after = (sum(p.numel() for p in m.parameters()) for m in (candidate.module, found.module))
        count = len(found.plan.removed)
        change = Change(
            transform=self.name,
            settings=asdict(self),
            layers=tuple(layer.layer for layer in found.plan.layers if layer.after < layer.before),
            before=f"{before:,} parameters",
            after=f"{after:,} parameters; {count} channels pruned, chosen by {self.criterion}",
        )
        return candidate.having(change, module=found.module)

    def _pruned(self, candidate: Candidate, env: Env) -> Pruned:
        if candidate.quantization:
            raise TransformError("transform 'prune_channels': prune channels before quantizing.")
        goal = Goal(self.macs, multiple=self.multiple)
        evidence = Evidence(seed=env.seed)
        found = prune(candidate.module, torch.zeros(candidate.input_shape), goal, self.criterion, evidence)
        if not found.plan.removed:
            raise TransformError("transform 'prune_channels': no channel of this network can be pruned.")
        return found

    @classmethod
    def example(cls) -> PruneChannels:
        """Return one that leaves half of the multiply-accumulates."""
        return cls()


MEMBERS = {PruneChannels.name: PruneChannels}
