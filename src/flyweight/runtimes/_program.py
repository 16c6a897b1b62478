"""A network as plain data: ATen operators and raw tensors, that another environment's torch builds it from again.

torch's own file of an exported program (.pt2) is read by an unpickler; this is JSON beside arrays, and only ATen
operators can be named in it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flyweight.contracts import Candidate
from flyweight.errors import ExportError
from flyweight.runtimes._frames import Arrays

if TYPE_CHECKING:
    from torch import nn

GETITEM = "getitem"
_CHECKS = ("_assert_tensor_metadata", "_assert_async", "sym_constrain_range")  # they compute nothing


def exported_program(candidate: Candidate, runtime: str) -> Any:
    """Return the candidate as a ``torch.export.ExportedProgram`` of fixed shapes, batch 1.

    Raises:
        ExportError: torch can't export it.
    """
    import torch

    try:
        with torch.no_grad():
            return torch.export.export(candidate.module, (torch.zeros(candidate.input_shape),))
    except Exception as error:  # whatever the network or torch raises
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(
            f"{runtime} can't express this network: torch can't export it ({type(error).__name__}: {reason})"
        ) from error


def to_plain(candidate: Candidate, runtime: str) -> tuple[dict[str, Any], Arrays]:
    """Return a candidate's operators (``{"input", "nodes", "output"}``), and its tensors by name.

    Raises:
        ExportError: torch can't export it, or it holds what is no ATen operator on one input and one output.
    """
    program = exported_program(candidate, runtime)
    signature, tensors = program.graph_signature, {}
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    held |= signature.inputs_to_lifted_tensor_constants
    state = {**program.constants, **program.state_dict}
    nodes: list[dict[str, Any]] = []
    inputs, outputs = [], []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in held:
                tensors[node.name] = state[held[node.name]].detach().numpy()
            else:
                inputs.append(node.name)
        elif node.op == "output":
            outputs = [one.name for one in node.args[0]]
        elif node.op == "call_function" and not any(check in str(node.target) for check in _CHECKS):
            nodes.append(_plain_node(node, runtime))
    if len(inputs) != 1 or len(outputs) != 1 or signature.buffers_to_mutate:
        raise ExportError(
            f"{runtime} can't express this network: it has {len(inputs)} inputs and {len(outputs)} outputs, "
            f"and changes {len(signature.buffers_to_mutate)} buffers as it runs; allowed are one, one and none."
        )
    return {"input": inputs[0], "nodes": nodes, "output": outputs[0], "shape": list(candidate.input_shape)}, tensors


def _plain_node(node: Any, runtime: str) -> dict[str, Any]:
    name = GETITEM if node.target is operator.getitem else str(node.target)
    if name != GETITEM and not name.startswith("aten."):
        raise ExportError(f"{runtime} can't express operator '{name}' {_layer(node)}. Replace it.")
    try:
        keywords = {key: _plain(value) for key, value in node.kwargs.items()}
        return {"name": node.name, "op": name, "args": [_plain(value) for value in node.args], "kwargs": keywords}
    except TypeError as error:
        raise ExportError(f"{runtime} can't express operator '{name}' {_layer(node)}: {error}.") from error


def _layer(node: Any) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return f"in layer '{stack[-1][0]}'" if stack and stack[-1][0] else "in the network itself"


def _plain(value: Any) -> Any:
    """Return an argument as JSON: nodes as ``{"node": name}``, torch's own kinds as ``{"torch": name}``."""
    import torch
    from torch.fx import Node

    if isinstance(value, Node):
        return {"node": value.name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    raise TypeError(f"an argument is a {type(value).__name__}")


Rewrite = Callable[[str, list[Any], dict[str, Any]], Any]


def from_plain(plain: Mapping[str, Any], tensors: Arrays, rewrites: Mapping[str, Rewrite] | None = None) -> nn.Module:
    """Return a module that computes what ``to_plain`` described.

    Args:
        plain: its operators.
        tensors: its tensors by name.
        rewrites: operator name, e.g. ``aten.conv_transpose2d.input`` -> what is called in its place with the
            operator's name, its arguments and its keywords.

    Raises:
        KeyError, AttributeError: an operator or tensor that isn't there.
    """
    import torch
    from torch import Tensor, nn

    names = {name: f"tensor_{index}" for index, name in enumerate(tensors)}
    steps = [(node["name"], _operator(node["op"], rewrites or {}), node) for node in plain["nodes"]]

    class Rebuilt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, array in tensors.items():
                self.register_buffer(names[name], torch.from_numpy(array))

        def forward(self, image: Tensor) -> Tensor:
            values: dict[str, Any] = {name: getattr(self, own) for name, own in names.items()}
            values[plain["input"]] = image
            for name, call, node in steps:
                keywords = {key: _real(value, values) for key, value in node["kwargs"].items()}
                values[name] = call([_real(value, values) for value in node["args"]], keywords)
            out: Tensor = values[plain["output"]]
            return out

    return Rebuilt().eval()


def _operator(name: str, rewrites: Mapping[str, Rewrite]) -> Callable[[list[Any], dict[str, Any]], Any]:
    if name in rewrites:
        rewrite = rewrites[name]
        return lambda arguments, keywords: rewrite(name, arguments, keywords)
    if name == GETITEM:
        return lambda arguments, _: operator.getitem(*arguments)
    overload = aten(name)
    return lambda arguments, keywords: overload(*arguments, **keywords)


def aten(name: str) -> Any:
    """Return torch's operator called ``aten.NAME.OVERLOAD``.

    Raises:
        KeyError: not such a name. AttributeError: torch has none of it.
    """
    import torch

    space, _, rest = name.partition(".")
    packet, _, overload = rest.partition(".")
    if space != "aten" or not packet or not overload:
        raise KeyError(name)
    return getattr(getattr(torch.ops.aten, packet), overload)


def _real(value: Any, values: Mapping[str, Any]) -> Any:
    import torch

    if isinstance(value, list):
        return [_real(one, values) for one in value]
    if not isinstance(value, dict):
        return value
    if "node" in value:
        return values[value["node"]]
    if "device" in value:
        return torch.device(value["device"])
    kind = getattr(torch, value["torch"])
    if not isinstance(kind, torch.dtype | torch.memory_format | torch.layout):
        raise KeyError(value["torch"])
    return kind
