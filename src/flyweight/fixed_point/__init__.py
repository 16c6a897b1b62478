"""A quantized network in integers alone: what a device computes, bit for bit.

:func:`read_program` turns a QDQ ONNX file into integer operators, fused as ONNX Runtime fuses them; :func:`run` runs
them in numpy's int32 and int64. Floats occur at the network's float inputs and outputs and nowhere between. Three
rounding rules, all stated in ``_requantize``: ``onnxruntime`` reproduces ONNX Runtime on x86, ``shift`` and
``gemmlowp`` are what integer hardware does. :func:`against_onnxruntime` compares node by node, :func:`dump` writes all
constants for a hardware engineer.
"""

from flyweight.fixed_point._against import Comparison, Difference, against_onnxruntime
from flyweight.fixed_point._dump import dump
from flyweight.fixed_point._read import Exit, Port, Program, Step, read_program
from flyweight.fixed_point._requantize import MODES, Mode
from flyweight.fixed_point._run import outputs_of, quantized_inputs, run
from flyweight.fixed_point._widths import Width, cpu_has_vnni, saturating_layers, width_of

__all__ = [
    "MODES", "Comparison", "Difference", "Exit", "Mode", "Port", "Program", "Step", "Width", "against_onnxruntime",
    "cpu_has_vnni", "dump", "outputs_of", "quantized_inputs", "read_program", "run", "saturating_layers", "width_of",
]  # fmt: skip
