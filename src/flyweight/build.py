"""build(spec) -> nn.Module."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from flyweight.blocks import BLOCKS
from flyweight.blocks._layers import FeatureMap, HeadBuilder, StageBuilder
from flyweight.blocks.deconv_decoder import bilinear_start
from flyweight.boxes import BoxCode
from flyweight.errors import SpecError, UsageError
from flyweight.spec import ArchSpec, HeadSpec, StageSpec


class Network(nn.Module):
    """A chain of stages and a head, built from a spec. Maps ``(n, C, h, w)`` to the head's logits."""

    def __init__(self, stages: Mapping[str, nn.Module], head: nn.Module, reads: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict(stages)
        self.head = head
        self.reads = dict(reads)  # stage -> earlier stages whose outputs it gets beside its predecessor's

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        maps: dict[str, Tensor] = {}
        seen = {"": x}
        for name, stage in self.encoder.items():
            x = stage(x, *(seen[source] for source in self.reads[name]))
            maps[name] = seen[name] = x
        out: Tensor = self.head(maps)
        return out


def build(spec: ArchSpec, seed: int = 0) -> nn.Module:
    """Build the network of a spec, freshly initialized, in eval mode, on the CPU.

    The global random state is left as it was; the same spec and seed give the same weights.

    Raises:
        SpecError: a stage or the head can't be built as written; names it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with _NoDefaultForLargeWeights():
            network = _network(spec)
        _initialize(network)
    return network.eval()


def _network(spec: ArchSpec) -> Network:
    maps = feature_maps(spec)
    stages: dict[str, nn.Module] = {}
    reads: dict[str, tuple[str, ...]] = {}
    inputs = _input(spec)
    seen = {"": inputs}
    for stage in spec.stages:
        builder = stage_builder(stage)
        reads[stage.name] = tuple(_source(stage, setting, seen) for setting in builder.reads)
        stages[stage.name] = builder.build(stage, inputs, spec, *(seen[source] for source in reads[stage.name]))
        inputs = seen[stage.name] = maps[stage.name]
    return Network(stages, _head_builder(spec.head).build(spec.head, maps, spec), reads)


def skeleton(spec: ArchSpec) -> tuple[nn.Module, Tensor]:
    """Return the network of a spec without weights, and an input for it: both on the meta device, which has no values.

    For what needs only shapes: counting, tracing, comparing architectures.

    Raises:
        SpecError: as ``build``.
    """
    with torch.device("meta"):
        return build(spec), torch.zeros(1, spec.input.channels, spec.input.height, spec.input.width)


def feature_maps(spec: ArchSpec) -> dict[str, FeatureMap]:
    """Return the shape of every stage's output, by stage name, in order."""
    maps: dict[str, FeatureMap] = {}
    current = _input(spec)
    for stage in spec.stages:
        current = stage_builder(stage).shape(stage, current, spec)
        maps[stage.name] = current
    return maps


def box_code(spec: ArchSpec) -> BoxCode:
    """Return what the outputs of a detection network mean.

    Raises:
        SpecError: its head doesn't detect, or can't be built as written.
    """
    boxes = _head_builder(spec.head).boxes
    if boxes is None:
        raise SpecError(f"spec '{spec.name}': head '{spec.head.kind}' gives no boxes. Use one that does, e.g. ssdlite.")
    return boxes(spec.head, feature_maps(spec), spec)


def _input(spec: ArchSpec) -> FeatureMap:
    return FeatureMap(spec.input.channels, spec.input.height, spec.input.width)


def _source(stage: StageSpec, setting: str, seen: Mapping[str, FeatureMap]) -> str:
    name = stage.setting(setting, "")
    if name not in seen:
        earlier = ", ".join(filter(None, seen)) or "none"
        raise SpecError(f"stage '{stage.name}': {setting} is '{name}', which is no earlier stage. Earlier: {earlier}.")
    return name


def stage_builder(stage: StageSpec) -> StageBuilder:
    """Return the builder of a stage's block.

    Raises:
        SpecError: no stage block has that name, or it lacks one of the settings.
    """
    builder = _member(stage.block, f"stage '{stage.name}'")
    if not isinstance(builder, StageBuilder):
        raise SpecError(f"stage '{stage.name}': '{stage.block}' is a head, not a stage block.")
    _check_settings(dict(stage.settings), builder.settings, f"stage '{stage.name}' ({stage.block})")
    return builder


def _head_builder(head: HeadSpec) -> HeadBuilder:
    builder = _member(head.kind, "head")
    if not isinstance(builder, HeadBuilder):
        raise SpecError(f"head: '{head.kind}' is a stage block, not a head.")
    _check_settings(dict(head.settings), builder.settings, f"head ({head.kind})")
    return builder


def _member(name: str, where: str) -> object:
    try:
        return BLOCKS.get(name)
    except UsageError as error:
        raise SpecError(f"{where}: {error}") from error


def _check_settings(given: Mapping[str, object], known: Mapping[str, object], where: str) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise SpecError(f"{where}: unknown setting '{unknown[0]}'. Allowed: {', '.join(known) or 'none'}.")


LARGE = 10_000_000  # elements


class _NoDefaultForLargeWeights(TorchFunctionMode):
    """Leaves out PyTorch's default values of large convolutions and linear layers, since ``_initialize`` draws others.

    Drawing is what takes time: VGG-16 has 138 million weights. Small weights are drawn twice, as PyTorch's layers do.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is nn.init.kaiming_uniform_:
            weight = kwargs["tensor"] if "tensor" in kwargs else args[0]
            if weight.numel() >= LARGE:
                return nn.init.zeros_(weight)
        return function(*args, **kwargs)


def _initialize(network: nn.Module) -> None:
    """He initialization (arXiv 1502.01852) by fan-out for convolutions; bilinear for ×2 transposed ones.

    A block that begins otherwise says how in a method ``initialize_weights()``.
    """
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d) and module.kernel_size == (4, 4) and module.stride == (2, 2):
            bilinear_start(module)
        elif isinstance(module, nn.ConvTranspose2d) and module.weight.numel() >= LARGE:
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5))  # PyTorch's default, which was left out
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if callable(begin := getattr(module, "initialize_weights", None)):
            begin()
