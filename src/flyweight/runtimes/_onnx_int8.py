"""Int8 for ONNX Runtime: post-training, QDQ form, uint8 activations per tensor, int8 weights per output channel.

What was measured on the ladder's ends (Zen 4, 1 thread) shapes three choices:

* ONNX Runtime has no int8 transposed convolution. One of kernel m·s and stride s equals a convolution of kernel m with
  s² times the channels, whose outputs are interleaved (depth to space) and cropped: no MAC more, and an int8 kernel
  exists. v0 takes 9.9 ms so, 30.8 with its transposed convolutions in float. In float it gains nothing (34.1 for 35.1).
* A ReLU behind it moves in front of the interleaving, where it is free: it becomes the convolution's output range.
* The first and the last convolution stay float where they have fewer than 16 input channels: the float kernel is faster
  there than int8's (0.76 for 0.85 ms on the ladder's end), and more exact.

Weights use the full int8 range: with VNNI, or on Arm, nothing saturates. x86 without VNNI saturates where two products
exceed 16 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.quantize import METHODS
from flyweight.quantize import quantize as own_int8

if TYPE_CHECKING:
    from flyweight.contracts import Array


FLOAT_BELOW = 16  # input channels under which the first and last convolution stay float


def quantize(
    model: Any, calibration: Array, method: str, module_of: Mapping[str, str], keep_float: Collection[str] = ()
) -> tuple[Any, dict[str, str], list[str]]:
    """Return the int8 model, node name -> module path, and notes on what stayed float. ``model`` is changed.

    Args:
        keep_float: paths of modules whose layers stay float.
    """
    module_of, stay, notes = prepared(model, module_of)
    kept = [node.name for node in model.graph.node if module_of.get(node.name) in set(keep_float)]
    made = own_int8(model, calibration, METHODS[method], [*stay, *kept])
    notes += [f"stays float (asked for): {path}" for path in keep_float]
    return made, with_conversions(made, module_of), notes


def weights_of(model: Any, module_of: Mapping[str, str], paths: Collection[str]) -> list[Array]:
    """Return the weights ``(o, ...)`` of the layers of some modules, rewritten as ``quantize`` would."""
    from onnx import numpy_helper

    module_of, _, _ = prepared(model, module_of)
    known = {item.name: item for item in model.graph.initializer}
    nodes = [n for n in model.graph.node if module_of.get(n.name) in set(paths) and n.op_type in ("Conv", "Gemm")]
    return [numpy_helper.to_array(known[node.input[1]]) for node in nodes if node.input[1] in known]


def prepared(model: Any, module_of: Mapping[str, str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Rewrite a float model in place to what quantizes well; return module paths, which nodes stay float, and notes."""
    found = {**module_of, **split_transposed(model, module_of)}
    pool_globally(model)
    stay = kept_in_float(model)
    notes = [f"stays float (fewer than {FLOAT_BELOW} input channels): {found.get(name, name)}" for name in stay]
    notes += [f"stays float: {found.get(n.name, n.name)}" for n in model.graph.node if n.op_type == "ConvTranspose"]
    return found, stay, notes


def with_conversions(model: Any, module_of: Mapping[str, str]) -> dict[str, str]:
    """Clear what a quantized model need not ship; return module paths, those of its quantizing nodes too."""
    model.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    return {**module_of, **_modules_of_conversions(model, module_of)}


def pool_globally(model: Any) -> None:
    """Turn means over height and width into GlobalAveragePool, in place: for that there is an integer kernel."""
    from onnx import helper, numpy_helper

    constants = {item.name: item for item in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type != "ReduceMean" or (len(node.input) > 1 and node.input[1] not in constants):
            continue
        axes = numpy_helper.to_array(constants[node.input[1]]) if len(node.input) > 1 else settings.get("axes", ())
        if sorted(int(axis) for axis in axes) not in ([2, 3], [-2, -1]):
            continue
        node.op_type = "GlobalAveragePool"
        del node.attribute[:], node.input[1:]
        if not settings.get("keepdims", 1):
            result, node.output[0] = node.output[0], f"{node.output[0]}_pooled"
            nodes.append(helper.make_node("Flatten", [node.output[0]], [result], name=f"{node.name}_flat"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def kept_in_float(model: Any) -> list[str]:
    """Return the names of the nodes that stay float: a first or last convolution of few input channels."""
    shapes = {item.name: tuple(item.dims) for item in model.graph.initializer}
    names = []
    for node in model.graph.node:
        at_the_ends = node.input[:1] == ["input"] or node.output[0] == "output"
        if node.op_type == "Conv" and at_the_ends and shapes[node.input[1]][1] < FLOAT_BELOW and _group(node) == 1:
            names.append(node.name)
    return names


def _group(node: Any) -> int:
    return int(next((a.i for a in node.attribute if a.name == "group"), 1))


def _modules_of_conversions(model: Any, module_of: Mapping[str, str]) -> dict[str, str]:
    """Give each quantize and dequantize node the module of what made its input, else of what reads its output."""
    producers = {out: node for node in model.graph.node for out in node.output}
    readers = {name: node for node in reversed(model.graph.node) for name in node.input}
    found: dict[str, str] = {}
    for node in model.graph.node:
        if node.name in module_of:
            continue
        made = producers.get(node.input[0])
        known = module_of.get(made.name) or found.get(made.name) if made is not None else None
        read = readers.get(node.output[0])
        known = known or (module_of.get(read.name) if read is not None else None)
        if known is not None:
            found[node.name] = known
    return found


# ---- transposed convolution as convolution, interleaving and crop -------------------------------------------------


def split_transposed(model: Any, module_of: Mapping[str, str]) -> dict[str, str]:
    """Rewrite the transposed convolutions that allow it, in place; return the new nodes' modules.

    With kernel ``m·s``, stride ``s`` and padding ``p``, output row ``o`` gets ``Σ_k x[q - k] · w[r + s·k]`` where
    ``o + p = s·q + r``: for each phase ``r`` a convolution with ``m`` taps over ``m - 1`` rows of padding; ``p`` rows
    are cropped from either end of the interleaved phases.
    """
    from onnx import numpy_helper

    weights = {item.name: item for item in model.graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    nodes: list[Any] = []
    found: dict[str, str] = {}
    moved: set[str] = set()
    for node in model.graph.node:
        settings = _splittable(node, weights)
        if settings is None or any(len(readers[name]) > 1 for name in node.input[1:]):
            nodes.extend([] if node.name in moved else [node])
            continue
        stride, padding = settings
        after = readers.get(node.output[0], [])
        relu = after[0] if len(after) == 1 and after[0].op_type == "Relu" else None
        for name, array in zip(node.input[1:], _phase_weights(node, weights, stride), strict=True):
            weights[name].CopyFrom(numpy_helper.from_array(array, name))
        made = _replacement(model, node, relu, stride, padding)
        found |= {item.name: module_of.get(node.name, "") for item in made if item is not relu}
        moved |= {relu.name} if relu is not None else set()
        nodes.extend(made)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return found


def _splittable(node: Any, weights: dict[str, Any]) -> tuple[int, int] | None:
    """Return stride and padding where kernel = m · stride, square, ungrouped, without dilation or extra output rows."""
    from onnx import helper

    if node.op_type != "ConvTranspose" or any(name not in weights for name in node.input[1:]):
        return None
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kernel = tuple(weights[node.input[1]].dims[2:])
    strides, pads = set(given.get("strides", [1])), set(given.get("pads", [0]))
    plain = (
        given.get("group", 1) == 1
        and set(given.get("dilations", [1])) == {1}
        and not any(given.get("output_padding", []))
    )
    if not plain or given.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in given:
        return None
    if len(kernel) != 2 or len(set(kernel)) != 1 or len(strides) != 1 or len(pads) != 1:
        return None
    stride, padding = strides.pop(), pads.pop()
    return (stride, padding) if stride > 1 and kernel[0] % stride == 0 else None


def _phase_weights(node: Any, weights: dict[str, Any], stride: int) -> list[Array]:
    """Return weight ``(K·s², C, m, m)``, and the bias if there is one, for a weight ``(C, K, m·s, m·s)``."""
    from onnx import numpy_helper

    weight = numpy_helper.to_array(weights[node.input[1]])
    channels, filters, kernel, _ = weight.shape
    taps = kernel // stride
    phases = weight.reshape(channels, filters, taps, stride, taps, stride)[:, :, ::-1, :, ::-1, :]
    split = phases.transpose(1, 3, 5, 0, 2, 4).reshape(filters * stride**2, channels, taps, taps)
    arrays: list[Array] = [np.ascontiguousarray(split)]
    if len(node.input) > 2:
        arrays.append(numpy_helper.to_array(weights[node.input[2]]).repeat(stride**2))
    return arrays


def _replacement(model: Any, node: Any, relu: Any, stride: int, padding: int) -> list[Any]:
    """Return the convolution, the ReLU that follows (or not), the interleaving and the crop, in this order."""
    from onnx import helper, numpy_helper

    taps = int(next(i.dims[2] for i in model.graph.initializer if i.name == node.input[1]))
    out = relu.output[0] if relu is not None else node.output[0]
    value = f"{out}_phases"
    made = [
        helper.make_node(
            "Conv",
            list(node.input),
            [value],
            name=node.name,
            kernel_shape=[taps, taps],
            pads=[taps - 1] * 4,
            strides=[1, 1],
        )
    ]
    if relu is not None:
        relu.input[0], relu.output[0] = value, f"{value}_relu"
        made.append(relu)
        value = relu.output[0]
    whole = f"{out}_whole" if padding else out
    name = f"{node.name}_interleave"
    made.append(helper.make_node("DepthToSpace", [value], [whole], name=name, blocksize=stride, mode="CRD"))
    if padding:
        bounds = {f"{out}_from": [padding] * 2, f"{out}_to": [-padding] * 2, f"{out}_axes": [2, 3]}
        for name, values in bounds.items():
            model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        made.append(helper.make_node("Slice", [whole, *bounds], [out], name=f"{node.name}_crop"))
    return made
