"""Run by LiteRT's Python: quantize a .tflite file as ai-edge-quantizer would, run files, and time them in turn.

    PYTHON _int8_litert.py make FLOAT.tflite CALIBRATION.npy
    PYTHON _int8_litert.py run FILE.tflite IMAGES.npy OUT.npy
    PYTHON _int8_litert.py time ROUNDS OUT.npz FILE.tflite ...

``make`` prints method, path and seconds of each file, separated by tabs. Weights by its algorithms that
take convolutions (its GPTQ and OSCAR take linear layers only), ranges by its own calibrator, a moving average over the
images; input and output stay float.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SIGNATURE, INPUT, WARM_UP = "serving_default", "args_0", 10
ALGORITHMS = {"minmax": "MIN_MAX_UNIFORM_QUANT", "mse": "MSE", "octav": "OCTAV"}


def make(source: Path, calibration: Any) -> None:
    """Quantize, write, tell; an algorithm that can't is told on stderr."""
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName

    images = [{INPUT: image[None]} for image in calibration]
    for name, algorithm in ALGORITHMS.items():
        begin = time.perf_counter()
        work = quantizer.Quantizer(bytearray(source.read_bytes()))
        told = recipe.static_wi8_ai8()
        for each in told:
            each["algorithm_key"] = AlgorithmName[algorithm]
        try:
            work.load_quantization_recipe(told)
            for kept in (TFLOperationName.INPUT, TFLOperationName.OUTPUT, TFLOperationName.CONV_2D_TRANSPOSE):
                work.update_quantization_recipe(".*", kept, None, AlgorithmName.NO_QUANTIZE)
            ranges = work.calibrate({SIGNATURE: images}, num_threads=1)
            made = bytes(work.quantize(ranges).quantized_model)
        except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        path = source.with_name(f"litert_theirs_{name}.tflite")
        path.write_bytes(made)
        print("made", f"ai-edge-quantizer, {name}", path, time.perf_counter() - begin, sep="\t", flush=True)


def _net(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    net = Interpreter(str(path), num_threads=1)
    net.allocate_tensors()
    return net


def _run(net: Any, image: Any) -> Any:
    net.set_tensor(net.get_input_details()[0]["index"], image)
    net.invoke()
    return net.get_tensor(net.get_output_details()[0]["index"])


def timed(rounds: int, paths: list[Path]) -> dict[str, Any]:
    """Return each file's times in ms, all in every round, in an order drawn anew."""
    nets = {path.name: _net(path) for path in paths}
    taken: dict[str, list[float]] = {name: [] for name in nets}
    for net in nets.values():
        shape = net.get_input_details()[0]["shape"]
        net.set_tensor(net.get_input_details()[0]["index"], np.random.default_rng(0).normal(size=shape).astype("f4"))
    random, names = np.random.default_rng(0), list(nets)
    for index in range(WARM_UP + rounds):
        for place in random.permutation(len(names)):
            name = names[place]
            begin = time.perf_counter()
            nets[name].invoke()
            if index >= WARM_UP:
                taken[name].append(1e3 * (time.perf_counter() - begin))
    return taken


def main(arguments: list[str]) -> None:
    """Do what the first argument says."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    task, *rest = arguments
    if task == "make":
        make(Path(rest[0]), np.load(rest[1]))
    elif task == "run":
        net = _net(Path(rest[0]))
        np.save(rest[2], np.concatenate([_run(net, image[None]) for image in np.load(rest[1])]))
    else:
        np.savez(rest[1], **timed(int(rest[0]), [Path(path) for path in rest[2:]]))


if __name__ == "__main__":
    main(sys.argv[1:])
