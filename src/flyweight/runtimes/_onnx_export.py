"""From a PyTorch module to an ONNX model with folded norms, and to the module that each of its nodes comes from.

torch has two exporters. This uses the newer one (``dynamo=True``): it folds batch norm also behind transposed
convolutions and padding into convolutions, leaves no shape arithmetic behind, and tells every node's module. It takes
1.5 to 3 s where the older takes 0.15 to 1 s (two networks of the ladder), which an export can afford.
"""

from __future__ import annotations

import ast
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

from flyweight.contracts import Candidate
from flyweight.errors import ExportError

OPSET = 18  # what the exporter writes without converting, and what runtimes of 2023 read
_SCOPES = "pkg.torch.onnx.name_scopes"
_WEIGHT = re.compile(r"(.+)\.(weight|bias)(_bias)?$")


def export_onnx(candidate: Candidate) -> tuple[Any, dict[str, str]]:
    """Return the candidate as ``onnx.ModelProto`` (batch 1, ``input`` -> ``output``), and node name -> module path.

    Raises:
        ExportError: an operator has no ONNX form; names the layer.
    """
    import torch

    example = torch.zeros(candidate.input_shape)
    try:
        with _quiet():
            program = torch.onnx.export(
                candidate.module, (example,), None, dynamo=True, opset_version=OPSET, verbose=False,
                input_names=["input"], output_names=["output"],
            )  # fmt: skip
    except (torch.onnx.OnnxExporterError, torch.onnx.errors.OnnxExporterError) as error:
        raise ExportError(_explain(error, candidate, example)) from error
    assert program is not None  # given with dynamo=True
    model = program.model_proto
    modules = {name for name, _ in candidate.module.named_modules()}
    return model, _name_nodes(model, modules)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of itself: torchvision's absence, and deprecations in torch and onnxscript."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _name_nodes(model: Any, modules: set[str]) -> dict[str, str]:
    """Give every node a unique name and return its module, then drop the exporter's notes, which need not ship."""
    found: dict[str, str] = {}
    unknown = []
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in found:
            node.name = f"{node.op_type}_{index}"
        module = _module_of(node, modules)
        found[node.name] = module or ""
        unknown += [node] if module is None else []
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in reversed(unknown):  # made by the exporter's own passes: what reads it may be of them too
        found[node.name] = _common([found[r.name] for name in node.output for r in readers.get(name, ())], modules)
    _strip(model)
    return found


def _module_of(node: Any, modules: set[str]) -> str | None:
    """Return the node's module: that of its weights (a folded norm's scope is not the layer's), else its scope.

    None where the exporter tells nothing of it.
    """
    for name in node.input:
        match = _WEIGHT.match(name)
        if match and match[1] in modules:
            return match[1]
    told = next((p.value for p in node.metadata_props if p.key == _SCOPES), None)
    if told is None:
        return None
    return next((scope for scope in reversed(ast.literal_eval(told)[:-1]) if scope in modules), "")


def _common(paths: Sequence[str], modules: set[str]) -> str:
    """Return the innermost module that holds all of ``paths``."""
    alike = takewhile(lambda names: len(set(names)) == 1, zip(*(path.split(".") for path in paths), strict=False))
    shared = [names[0] for names in alike]
    while shared and ".".join(shared) not in modules:
        shared.pop()
    return ".".join(shared)


def _strip(model: Any) -> None:
    graph = model.graph
    for group in (graph.node, graph.input, graph.output, graph.initializer):
        for item in group:
            item.ClearField("metadata_props")
            item.ClearField("doc_string")
    for holder in (graph, model):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    graph.ClearField("value_info")
    used = {node.domain for node in graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used | {""}]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _explain(error: BaseException, candidate: Candidate, example: Any) -> str:
    """Return a sentence that names the operator and the layer, from the first cause of the exporter's error."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    match = re.search(r"op='([\w.]+)'", str(cause))
    if match is None:
        reason = str(cause).strip().partition("\n")[0]
        return f"onnxruntime can't express this network: {type(cause).__name__}: {reason}"
    layers = _layers_with(match[1], candidate, example)
    where = f" in layer {', '.join(layers[:5])}" if layers else ""
    return f"onnxruntime can't express operator '{match[1]}'{where}. Replace it, or choose another runtime."


def _layers_with(operator: str, candidate: Candidate, example: Any) -> list[str]:
    import torch

    program = torch.export.export(candidate.module, (example,))
    kernel = operator.rsplit(".", 1)[-1]
    found: dict[str, None] = {}
    for node in program.graph.nodes:
        if kernel.replace("_", "") in str(node.target).replace("_", ""):  # prims.erf_inv is aten.erfinv
            stack: Mapping[str, Any] = node.meta.get("nn_module_stack", {})
            name = list(stack.values())[-1][0] if stack else ""
            found[f"'{name}'" if name else "(the network itself)"] = None
    return list(found)
