"""Int8 post-training quantization: ranges, rounding and correction of our own, whatever the format."""

from flyweight.quantize._fit import METHODS, Draft, Floats, Method, Weights, fit
from flyweight.quantize._make import fitted, quantize
from flyweight.quantize._observers import OBSERVERS, SYMMETRIC_LEVELS, Histogram
from flyweight.quantize._run import observed
from flyweight.quantize._sensitivity import sensitivity, with_fewest_float
from flyweight.quantize._tell import Tell, telling, told
from flyweight.quantize._weights import Window, nearest, same

__all__ = [
    "METHODS", "OBSERVERS", "SYMMETRIC_LEVELS", "Draft", "Floats", "Histogram", "Method", "Tell", "Weights", "Window",
    "fit", "fitted", "nearest", "observed", "quantize", "same", "sensitivity", "telling", "told", "with_fewest_float",
]  # fmt: skip
