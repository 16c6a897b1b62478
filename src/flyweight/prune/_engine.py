"""Plan and prune: which channels go of each layer, proved on a copy without values, and the network without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flyweight._meta import staged
from flyweight.coupling import Coupling, couple, divergence
from flyweight.errors import FlyweightError, GraphError, UsageError
from flyweight.graph import Graph, Node
from flyweight.prune._choose import Goal, chosen, sets_of, too_large
from flyweight.prune._cost import Cost
from flyweight.prune._criteria import Evidence, Floats, group_scores
from flyweight.prune._silence import difference, silenced
from flyweight.prune._surgery import without
from flyweight.prune._time import Timing, timed_cost
from flyweight.prune._units import Units, units_of
from flyweight.trace import Example, trace

__all__ = ["Layer", "Plan", "Pruned", "inexactness", "plan", "prune"]

NO_EVIDENCE = Evidence()
OUTPUT = "they are the network's output"


@dataclass(frozen=True)
class Layer:
    """What becomes of one layer.

    Attributes:
        layer: the module's path; of a function called with a parameter the path of the module that calls it.
        before, after: how many channels it makes.
        why: why channels stay that a smaller goal would not have left, empty where nothing holds them.
    """

    layer: str
    before: int
    after: int
    why: str


@dataclass(frozen=True)
class Plan:
    """Which channels of a network go. The network without them was traced, and does with the others what it did.

    Attributes:
        coupling: of the network as it is.
        goal, criterion: what was asked for.
        removed: numbers of the channels that go, as in ``coupling``.
        held: channels that can't go, and why.
        macs, params: counted before and after.
        time_us: modelled before and after, where the goal is a time.
    """

    coupling: Coupling
    goal: Goal
    criterion: str
    removed: tuple[int, ...]
    held: Mapping[int, str] = field(repr=False)
    macs: tuple[int, int]
    params: tuple[int, int]
    time_us: tuple[float, float] = (0.0, 0.0)

    @property
    def share(self) -> float:
        """The share of the goal's cost that is left."""
        before, after = {"macs": self.macs, "params": self.params, "time": self.time_us}[self.goal.measure]
        return after / before if before else 1.0

    @property
    def reached(self) -> bool:
        """Whether as little is left as the goal says, to a thousandth."""
        return self.share <= self.goal.share + 1e-3

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer that makes channels, in the order of the graph."""
        gone = np.zeros(len(self.coupling.group_of), bool)
        gone[list(self.removed)] = True
        nodes = {node.name: node for node in self.coupling.graph.nodes}
        found = []
        for source in self.coupling.sources:
            if source.node in nodes:
                lost = int(gone[source.ids.start : source.ids.stop].sum())
                why = list(dict.fromkeys(self.held[i] for i in source.ids if i in self.held))
                width = len(source.ids)
                found.append(Layer(source.module or source.node, width, width - lost, "; ".join(why)))
        return tuple(found)

    @property
    def left_whole(self) -> tuple[Layer, ...]:
        """The layers that lose nothing because something holds all of their channels, but for outputs."""
        return tuple(x for x in self.layers if x.after == x.before and x.why and x.why != OUTPUT)


@dataclass(frozen=True)
class Pruned:
    """A network without some channels, and the plan by which they went."""

    module: nn.Module
    plan: Plan


def prune(
    module: nn.Module,
    example: Example,
    goal: Goal,
    criterion: str = "l1",
    evidence: Evidence = NO_EVIDENCE,
    timings: Sequence[Timing] = (),
) -> Pruned:
    """Return a copy of a network without the channels that ``plan`` says; arguments and errors are its."""
    made = plan(module, example, goal, criterion, evidence, timings)
    return Pruned(without(module, made.coupling, made.removed), made)


def inexactness(module: nn.Module, example: Tensor, pruned: Pruned, seed: int = 0) -> float:
    """Return how far a pruned network's outputs are from ``module``'s with those channels at zero, over the largest.

    Args:
        module: the network that was pruned. pruned: what came of it.
        example: the shape and dtype of the noise that both are run on.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(example.shape, dtype=example.dtype, generator=generator)
    return difference(silenced(module, pruned.plan.coupling, pruned.plan.removed), pruned.module, noise)


def plan(
    module: nn.Module,
    example: Example,
    goal: Goal,
    criterion: str = "l1",
    evidence: Evidence = NO_EVIDENCE,
    timings: Sequence[Timing] = (),
) -> Plan:
    """Return which channels of a network go, so that about the goal's share of its cost is left.

    Channels that are tied go together, groups of convolutions stay equally large, inputs and outputs keep their shapes.
    Layers that can't do without a channel are left whole: the channels that stay are followed through the new network,
    and where it does something else with them, those at that place are held and others go.

    Args:
        module: left as it is; its layers keep their names.
        example: as for ``trace``.
        goal: how much is left.
        criterion: a name in ``CRITERIA``.
        evidence: batches and a loss for criteria that need them; the seed of a random one.
        timings: of the network and of pruned copies, for a goal of time; their numbers are of ``couple``.

    Raises:
        UsageError: no such criterion, it lacks data, or a goal of time lacks timings. GraphError: the network can't be
            traced.
    """
    if goal.measure == "time" and not timings:
        raise UsageError("a goal of time needs timings of the network: flyweight.prune_time.timed makes them.")
    graph = trace(module, example)
    empty = _without_values(module, example, graph)
    attempt = partial(_attempt, module, empty, example, _Wish(goal, criterion, evidence, tuple(timings)))
    first = attempt(couple(graph))
    stuck = _stuck_tables(first)
    if not stuck:
        return first
    second = attempt(couple(graph, stuck))
    better = (not first.reached and second.share < first.share) or len(second.left_whole) < len(first.left_whole)
    return second if better and (second.reached or not first.reached) else first


@dataclass(frozen=True)
class _Wish:
    """What a plan is asked for."""

    goal: Goal
    criterion: str
    evidence: Evidence
    timings: tuple[Timing, ...]

    def cost(self, coupling: Coupling) -> Cost:
        """Return what counts for the goal."""
        if self.goal.measure == "time":
            return timed_cost(coupling, self.timings)
        return Cost.of(coupling, self.goal.measure)


def _attempt(module: nn.Module, empty: nn.Module, example: Example, wish: _Wish, coupling: Coupling) -> Plan:
    """Return the plan of one reading of the graph: fewer and fewer units may go, until the network does as it did."""
    scores = group_scores(wish.criterion, module, coupling, wish.evidence)
    units = units_of(coupling, scores)
    units = replace(units, held={**too_large(units), **units.held})
    per_unit, cost, proof = _per_unit(units, scores), wish.cost(coupling), _Proof(empty, example, coupling)
    while True:
        gone = chosen(units, per_unit, wish.goal, cost)
        clash = proof.clash(units, gone)
        if not clash:
            return _planned(units, gone, per_unit, wish, cost)
        units = replace(units, held={**units.held, **clash})


def _without_values(module: nn.Module, example: Example, graph: Graph) -> nn.Module:
    """Return a copy of the module on the meta device, or itself where that runs otherwise: it reads a number there."""
    empty = staged(module, example).module
    try:
        same = _operators(trace(empty, example)) == _operators(graph)
    except GraphError:
        same = False
    return empty if same else module


def _stuck_tables(found: Plan) -> tuple[str, ...]:
    """Return the nodes that write channels into a table and of which nothing may go: perhaps its columns are fixed."""
    made = [b.node for b in found.coupling.balances if b.node.op in ("view", "reshape", "unflatten")]
    held = np.array([i in found.held for i in range(len(found.coupling.group_of))], bool)
    labels = found.coupling.labels
    return tuple(dict.fromkeys(node.name for node in made if held[np.unique(labels[node.outputs[0]])].all()))


def _per_unit(units: Units, scores: Floats) -> Floats:
    """Return ``(units,)``: the mean of the groups' scores; those of which nothing is said don't count."""
    unit_of_group = np.zeros(len(scores), int)
    unit_of_group[units.coupling.group_of] = units.unit_of
    said = np.isfinite(scores)
    sums = np.bincount(unit_of_group[said], scores[said], minlength=units.count)
    counts = np.bincount(unit_of_group[said], minlength=units.count)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def _planned(units: Units, gone: tuple[int, ...], scores: Floats, wish: _Wish, cost: Cost) -> Plan:
    removed = units.channels(gone)
    mask, nothing = units.mask(gone), np.zeros(len(units.unit_of), bool)
    macs, params = (Cost.of(units.coupling, measure) for measure in ("macs", "params"))
    held = {int(i): units.held[int(u)] for i, u in enumerate(units.unit_of) if int(u) in units.held}
    silent = f"the criterion {wish.criterion} says nothing of them"
    held |= {int(i): silent for i in np.flatnonzero(~np.isfinite(scores[units.unit_of])) if int(i) not in held}
    return Plan(
        units.coupling, wish.goal, wish.criterion, tuple(map(int, removed)), held,
        (round(macs.left(nothing)), round(macs.left(mask))), (round(params.left(nothing)), round(params.left(mask))),
        (cost.left(nothing), cost.left(mask)) if wish.goal.measure == "time" else (0.0, 0.0),
    )  # fmt: skip


@dataclass(frozen=True)
class _Proof:
    """A network without values, on which surgery is tried, and how its channels hang together."""

    module: nn.Module
    example: Example
    coupling: Coupling

    def clash(self, units: Units, gone: tuple[int, ...]) -> dict[int, str]:
        """Return units that must stay, and why; none where the network without ``gone`` does as it should."""
        if not gone:
            return {}
        try:
            wrong = self._wrong(units, gone)
        except FlyweightError as error:
            return self._fixed(units, gone, error)
        if wrong is None:
            return {}
        node, what = wrong
        why = f"'{node.module or node.name}' ({node.op}): {what}"
        touched = _units_at(units, node)
        return dict.fromkeys(touched if touched & set(gone) else gone, why)

    def _wrong(self, units: Units, gone: Iterable[int]) -> tuple[Node, str] | None:
        ids = units.channels(list(gone))
        return divergence(self.coupling, ids, trace(without(self.module, self.coupling, ids), self.example))

    def _fixed(self, units: Units, gone: tuple[int, ...], error: FlyweightError) -> dict[int, str]:
        """Return the units of those sets of layers without which the network does not run, found by halving."""
        of = sets_of(units)
        asked = [int(number) for number in np.unique(of[list(gone)])]
        failing = self._failing(units, np.array(gone, int), of, [], asked)
        why = f"the network's code fixes their number ({_first_sentence(error)})"
        return {int(u): why for u in np.flatnonzero(np.isin(of, failing or asked))}

    def _failing(
        self, units: Units, gone: NDArray[np.int64], of: NDArray[np.int64], kept: list[int], asked: list[int]
    ) -> list[int]:
        """Return the failing ones of the sets ``asked``; those that run are added to ``kept``."""
        try:
            self._wrong(units, gone[np.isin(of[gone], [*kept, *asked])])
        except FlyweightError:
            if len(asked) == 1:
                return asked
            half = len(asked) // 2
            first = self._failing(units, gone, of, kept, asked[:half])
            return first + self._failing(units, gone, of, kept, asked[half:])
        kept.extend(asked)
        return []


def _operators(graph: Graph) -> list[tuple[str, str]]:
    return [(node.name, node.op) for node in graph.nodes]


def _units_at(units: Units, node: Node) -> set[int]:
    ids = [np.unique(units.coupling.labels[name]) for name in (*node.inputs, *node.outputs)]
    axes = [axis.ids for param in node.params for axis in units.coupling.params.get(param.name, ())]
    return {int(units.unit_of[i]) for some in (*ids, *axes) for i in np.unique(some) if i >= 0}


def _first_sentence(error: FlyweightError) -> str:
    text = str(error).split("\n", 1)[0]
    return text if len(text) < 160 else f"{text[:157]}..."
