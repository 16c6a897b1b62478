"""Small float ONNX networks with random weights, and their QDQ form by ONNX Runtime's own quantizer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Nodes and weights, added one by one; every method returns the name of the new tensor."""

    def __init__(self, channels: int, size: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.shape = (1, channels, size, size)

    def node(self, op: str, *inputs: str, **settings: Any) -> str:
        """Add any operator."""
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **settings))
        return f"{name}_out"

    def constant(self, array: NDArray[Any]) -> str:
        """Add an initializer."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x: str, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Add a convolution with bias, padded by ``kernel // 2``."""
        shape = (out, channels // groups, kernel, kernel)
        weight = self.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape) * self.random.uniform(
            0.3, 2, (out, 1, 1, 1)
        )
        bias = self.random.normal(0, 0.2, out)
        names = [self.constant(array.astype(np.float32)) for array in (weight, bias)]
        return self.node(
            "Conv", x, *names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups
        )

    def relu6(self, x: str) -> str:
        """Add a Clip from 0 to 6."""
        return self.node("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))

    def classifier(self, x: str, channels: int, classes: int) -> str:
        """Add global average pooling, Flatten and a fully connected layer."""
        weight = self.random.normal(0, 0.3, (classes, channels)).astype(np.float32)
        bias = self.random.normal(0, 0.3, classes).astype(np.float32)
        flat = self.node("Flatten", self.node("GlobalAveragePool", x))
        return self.node("Gemm", flat, self.constant(weight), self.constant(bias), transB=1)

    def model(self, output: str) -> Any:
        """Return the model, ``output`` being its one output."""
        graph = helper.make_graph(
            self.nodes, "net", [helper.make_tensor_value_info("input", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], self.weights,
        )  # fmt: skip
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return onnx.shape_inference.infer_shapes(made)


def mobilenet_v1(size: int = 24) -> Any:
    """Depthwise and pointwise convolutions, ReLU6."""
    net = Net(3, size, 1)
    x = net.relu6(net.conv("input", 3, 8, 3, 2))
    for channels, out, stride in ((8, 16, 1), (16, 24, 2), (24, 24, 1)):
        x = net.relu6(net.conv(x, channels, channels, 3, stride, groups=channels))
        x = net.relu6(net.conv(x, channels, out))
    return net.model(net.classifier(x, 24, 10))


def mobilenet_v2(size: int = 24, act: str = "Clip") -> Any:
    """Inverted residuals with linear ends and additions; Lite0's are the same with kernels of 5."""
    net = Net(3, size, 2)
    x = net.relu6(net.conv("input", 3, 8, 3, 2))
    for channels, out, kernel, stride in ((8, 12, 3, 2), (12, 12, 5, 1), (12, 12, 3, 1)):
        wide = net.relu6(net.conv(x, channels, channels * 4))
        deep = net.relu6(net.conv(wide, channels * 4, channels * 4, kernel, stride, groups=channels * 4))
        thin = net.conv(deep, channels * 4, out)
        x = net.node("Add", x, thin) if (channels, stride) == (out, 1) else thin
    return net.model(net.classifier(net.relu6(net.conv(x, 12, 40)), 40, 10))


def mixture(size: int = 24) -> Any:
    """Every other operator: pools, concatenation, gates, leaky ReLU, h-swish, grouped and dilated convolutions."""
    net = Net(3, size, 3)
    x = net.node("LeakyRelu", net.conv("input", 3, 8, 3), alpha=0.1)
    pooled = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    mean = net.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    both = net.node("Concat", pooled, mean, net.conv(x, 8, 4, 3, 2), axis=1)
    swished = net.node("HardSwish", net.conv(both, 20, 16, 3, groups=4))
    gate = net.node("Sigmoid", net.conv(net.node("GlobalAveragePool", swished), 16, 16))
    hard = net.node("HardSigmoid", net.conv(net.node("GlobalAveragePool", swished), 16, 16), alpha=1 / 6, beta=0.5)
    x = net.node("Mul", net.node("Mul", swished, gate), hard)
    x = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], count_include_pad=1)
    x = net.node("Relu", net.node("Add", x, net.node("Mul", x, x)))
    return net.model(net.classifier(net.node("Transpose", x, perm=[0, 1, 3, 2]), 16, 10))


OPERATORS = (
    "Conv", "Add", "Mul", "Clip", "Relu", "GlobalAveragePool", "AveragePool", "MaxPool", "Concat", "LeakyRelu",
    "Sigmoid", "HardSigmoid", "HardSwish", "Flatten", "Gemm", "MatMul", "Reshape", "Transpose",
)  # fmt: skip


def quantized(
    model: Any, path: Path, signed: bool = False, per_channel: bool = True, reduce_range: bool = False
) -> Path:
    """Write the model in QDQ form to ``path``, ranges from random inputs."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    rows = images(model, 4, seed=5)

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package is untyped
        """Gives the inputs one by one."""

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            """Return the next input, None behind the last."""
            return rows.pop() if rows else None

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        onnx.save(model, source)
        quantize_static(
            source, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=per_channel, reduce_range=reduce_range,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=list(OPERATORS),
        )  # fmt: skip
    return path


def images(model: Any, count: int, seed: int = 0) -> list[dict[str, NDArray[np.float32]]]:
    """Return random inputs."""
    random = np.random.default_rng(seed)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return [{"input": random.normal(size=shape).astype(np.float32)} for _ in range(count)]
