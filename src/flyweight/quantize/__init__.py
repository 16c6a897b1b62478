"""Int8 post-training quantization of an ONNX file: ranges, rounding and correction of our own."""

from flyweight.quantize._make import Method, quantize
from flyweight.quantize._observers import OBSERVERS
from flyweight.quantize._sensitivity import sensitivity, with_fewest_float

__all__ = ["OBSERVERS", "Method", "quantize", "sensitivity", "with_fewest_float"]
