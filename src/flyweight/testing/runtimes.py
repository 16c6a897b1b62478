"""What every runtime must keep."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from flyweight import files
from flyweight.contracts import Artifact, Candidate, Quantization, Runtime
from flyweight.errors import FileError, FlyweightError
from flyweight.evaluate import preprocess
from flyweight.spec import ArchSpec
from flyweight.testing import _networks as networks
from flyweight.trace import trace
from flyweight.transforms.add_skips import AddSkips
from flyweight.transforms.crelu import UseCReLU
from flyweight.transforms.fold_bn import FoldBatchNorm
from flyweight.zoo import ZOO

if TYPE_CHECKING:
    from flyweight.contracts import Array

IMAGES = 4
INT8_ERROR = (
    0.35  # root mean square of the difference over that of the output; random weights quantize worse than trained
)


class RuntimeContract:
    """Parametrize ``runtime`` with usable runtimes.

    One network is exported per class and runtime: depthwise and transposed convolutions, CReLU, skips by concatenation.
    """

    @pytest.fixture(scope="class")
    @classmethod
    def candidate(cls) -> Candidate:
        """A narrow end of the slimming ladder; override it for a runtime that runs other networks only."""
        return networks.seasoned(_ladders_end())

    @pytest.fixture(scope="class")
    @classmethod
    def images(cls) -> NDArray[np.uint8]:
        """Real images ``(n, H, W, 3)``: test tiles of the embedded sample."""
        from flyweight.data import load_dataset

        tiles = load_dataset("blue_marble").test
        return networks.stacked([tiles[index][0] for index in range(IMAGES)])

    @pytest.fixture(scope="class")
    @classmethod
    def batch(cls, images: NDArray[np.uint8], candidate: Candidate) -> Array:
        """The images as the network takes them."""
        return preprocess(images, candidate.preprocessing)

    @pytest.fixture(scope="class")
    @classmethod
    def artifact(cls, runtime: Runtime, candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
        """The network, exported."""
        return runtime.export(candidate, tmp_path_factory.mktemp(runtime.name))

    def test_usable_runtime_tells_its_version(self, runtime: Runtime) -> None:
        """``missing`` is None, and there is a version to write into a report."""
        assert runtime.missing() is None
        assert runtime.version().strip()

    def test_all_files_lie_in_the_folder(self, runtime: Runtime, artifact: Artifact) -> None:
        """What ships exists, in one folder or below it, with nothing half-written beside it."""
        assert artifact.files
        assert all(path.is_file() for path in artifact.files)
        assert all(path.is_relative_to(artifact.files[0].parent) for path in artifact.files)
        assert not list(artifact.files[0].parent.glob("*.part"))

    def test_size_and_checksum_are_those_of_the_files(self, runtime: Runtime, artifact: Artifact) -> None:
        """``bytes`` is the sum, ``sha256`` that of the contents in the files' order."""
        contents = b"".join(path.read_bytes() for path in artifact.files)
        assert artifact.bytes == len(contents)
        assert artifact.sha256 == hashlib.sha256(contents).hexdigest()

    def test_artifact_tells_runtime_and_shapes(
        self, runtime: Runtime, artifact: Artifact, candidate: Candidate
    ) -> None:
        """Name, version, precision, and shapes for a batch of one."""
        assert (artifact.runtime, artifact.runtime_version) == (runtime.name, runtime.version())
        assert artifact.precision == "fp32"
        assert artifact.input_shape[1:] == candidate.input_shape[1:]
        assert artifact.output_shape[1:] == tuple(networks.outputs(candidate, networks.inputs(candidate)).shape[1:])

    def test_artifact_computes_what_pytorch_computes(
        self, runtime: Runtime, artifact: Artifact, candidate: Candidate, batch: Array
    ) -> None:
        """On real images the largest difference is at most ``rtol`` of the largest output."""
        wanted = networks.outputs(candidate, torch.from_numpy(batch)).numpy()
        assert _difference(runtime.load(artifact, 1)(batch), wanted) <= runtime.rtol

    def test_outputs_are_float32_and_inputs_stay(self, runtime: Runtime, artifact: Artifact, batch: Array) -> None:
        """``Predict`` maps float32 to float32 and does not write into its argument."""
        kept = batch.copy()
        out = runtime.load(artifact, 1)(batch)
        assert out.dtype == np.float32
        assert out.shape == (len(batch), *artifact.output_shape[1:])
        assert np.array_equal(batch, kept)

    def test_images_of_a_batch_do_not_mix(self, runtime: Runtime, artifact: Artifact, batch: Array) -> None:
        """One by one gives what all at once give."""
        predict = runtime.load(artifact, 1)
        single = np.concatenate([predict(batch[index : index + 1]) for index in range(len(batch))])
        assert _difference(single, predict(batch)) <= runtime.rtol

    def test_two_threads_give_what_one_gives(self, runtime: Runtime, artifact: Artifact, batch: Array) -> None:
        """The number of threads changes the time, not the result."""
        assert _difference(runtime.load(artifact, 2)(batch), runtime.load(artifact, 1)(batch)) <= runtime.rtol

    def test_preprocessing_travels_with_the_artifact(
        self, runtime: Runtime, artifact: Artifact, candidate: Candidate, tmp_path: Path
    ) -> None:
        """Written to JSON and read back, an artifact is the same and holds the candidate's preprocessing."""
        files.write_json(tmp_path / "artifact.json", artifact.to_json())
        again = Artifact.from_json(files.read_json(tmp_path / "artifact.json"), artifact.files[0].parent)
        assert again == artifact
        assert again.preprocessing == candidate.preprocessing

    def test_artifact_read_back_still_runs(self, runtime: Runtime, artifact: Artifact, batch: Array) -> None:
        """The files and the JSON are all that is needed."""
        again = Artifact.from_json(artifact.to_json(), artifact.files[0].parent)
        assert np.array_equal(runtime.load(again, 1)(batch), runtime.load(artifact, 1)(batch))

    def test_export_does_not_touch_the_candidate(self, runtime: Runtime, candidate: Candidate, tmp_path: Path) -> None:
        """Weights, flags and spec are as they were."""
        before = networks.snapshot(candidate)
        runtime.export(candidate, tmp_path)
        assert networks.snapshot(candidate) == before

    def test_network_that_fails_leaves_no_file(self, runtime: Runtime, candidate: Candidate, tmp_path: Path) -> None:
        """A network that can't be run is a FlyweightError, and the folder stays empty."""
        with pytest.raises(FlyweightError):
            runtime.export(Candidate(networks.Raising().eval(), candidate.preprocessing), tmp_path / "out")
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_folder_that_is_a_file_is_a_file_error(
        self, runtime: Runtime, candidate: Candidate, tmp_path: Path
    ) -> None:
        """What can't be written is told as such, and what lay there stays."""
        (tmp_path / "taken").write_text("kept")
        with pytest.raises(FileError, match="taken"):
            runtime.export(candidate, tmp_path / "taken")
        assert (tmp_path / "taken").read_text() == "kept"

    def test_damaged_artifact_is_an_error(
        self, runtime: Runtime, artifact: Artifact, batch: Array, tmp_path: Path
    ) -> None:
        """A file cut in half is a FlyweightError when it is loaded, not a crash and not a result."""
        damaged = tuple(tmp_path / path.name for path in artifact.files)
        for source, target in zip(artifact.files, damaged, strict=True):
            data = source.read_bytes()
            target.write_bytes(data[: len(data) // 2])
        with pytest.raises(FlyweightError):
            runtime.load(replace(artifact, files=damaged), 1)(batch)

    def test_supports_the_network_that_it_exports(self, runtime: Runtime, candidate: Candidate) -> None:
        """``unsupported`` names no node of a network whose export is tested here."""
        assert runtime.unsupported(trace(candidate.module, torch.zeros(candidate.input_shape))) == ()

    def test_layer_times_belong_to_modules(self, runtime: Runtime, artifact: Artifact, candidate: Candidate) -> None:
        """Where a runtime times its kernels: none below zero, each of a module that exists, or of none."""
        times = runtime.layer_times(artifact, 1, 5)
        if times is None:
            return
        modules = {name for name, _ in candidate.module.named_modules()}
        assert times.rows
        assert all(row.median_us >= 0 for row in times.rows)
        assert {row.module for row in times.rows if row.module is not None} <= modules
        assert times.run_us > 0
        assert times.cpu_us > 0

    def test_intermediates_end_in_the_output(self, runtime: Runtime, artifact: Artifact, batch: Array) -> None:
        """Where a runtime shows what its nodes compute: in order of execution, and one of them is the output."""
        found = runtime.intermediates(artifact, batch[:1])
        if not found:
            return
        places = {each.name: place for place, each in enumerate(found)}
        assert all(places[name] < places[each.name] for each in found for name in each.reads if name in places)
        wanted = runtime.load(artifact, 1)(batch[:1])
        same = [each for each in found if each.value.size == wanted.size]
        allowed = runtime.rtol * np.abs(wanted).max()
        assert any(np.abs(each.value.ravel() - wanted.ravel()).max() <= allowed for each in same)

    def test_int8_artifact_is_smaller_and_near_the_float_outputs(
        self, runtime: Runtime, images: NDArray[np.uint8], tmp_path: Path
    ) -> None:
        """A quantized candidate gives an int8 artifact that computes nearly the same: ranges and scales are right."""
        if "int8" not in runtime.precisions:
            return
        folded = FoldBatchNorm().apply(networks.seasoned(_few_layers()), networks.NO_ENV)
        inputs = preprocess(images, folded.preprocessing)
        floats = runtime.export(folded, tmp_path / "fp32")
        integers = runtime.export(replace(folded, quantization=Quantization(inputs)), tmp_path / "int8")
        assert integers.precision == "int8"
        assert integers.bytes < floats.bytes
        wanted = networks.outputs(folded, torch.from_numpy(inputs)).numpy()
        assert _rms(runtime.load(integers, 1)(inputs) - wanted) / _rms(wanted) < INT8_ERROR


def _ladders_end() -> ArchSpec:
    spec = networks.narrow(ZOO.get("mobilenet_v1_deconv").spec)
    return AddSkips("concat").edit(UseCReLU(("conv5_1", "conv5_2")).edit(spec))


def _few_layers() -> ArchSpec:
    """Return three stages and a decoder of two: random weights lose more to int8 with every layer."""
    spec = ZOO.get("mobilenet_v1_deconv").spec
    size = replace(spec.input, height=networks.PIXELS, width=networks.PIXELS)
    return spec.replace(stages=spec.stages[:3], head=spec.head.replace(widths=(64, 32)), input=size)


def _difference(found: Array, wanted: Array) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
