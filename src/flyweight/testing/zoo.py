"""What every architecture of the zoo must keep.

Three classes, by what they cost: ``ZooContract`` (less than half a second each), ``ZooEditsContract`` (less than that
for every edit) and ``ZooExportContract`` (to ONNX: some seconds; needs ONNX Runtime). Parametrize ``entry`` with
``scope="class"``: then the checks share what they build.
"""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from typing import TypeAlias

import pytest
import torch

from flyweight.boxes import EXTRA_COLUMNS
from flyweight.build import box_code, build
from flyweight.contracts import Artifact, Candidate
from flyweight.errors import TransformError
from flyweight.runtimes import RUNTIMES
from flyweight.spec import ArchSpec
from flyweight.testing import _networks as networks
from flyweight.testing._zoo_runs import (
    counted,
    enough_pixels,
    expected_shapes,
    sized,
    slim,
    small_run,
    traced_shapes,
)
from flyweight.trace import trace
from flyweight.transforms._edit import SpecEdit
from flyweight.transforms.scale_depth import ScaleDepth
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.transforms.set_expansion import SetExpansion
from flyweight.transforms.set_kernel import SetKernel
from flyweight.transforms.swap_activation import SwapActivation
from flyweight.zoo import ZooEntry

Edit: TypeAlias = tuple[float, float, str]  # factors of width and depth, and the input's size
EVERY_EDIT: tuple[Edit, ...] = tuple(itertools.product((0.5, 0.75, 1.5), (0.5, 1.0, 1.5), ("smallest", "half", "own")))
SOME_EDITS: tuple[Edit, ...] = ((0.5, 0.5, "smallest"), (0.75, 0.5, "half"), (1.5, 1.5, "own"))
_TRACEABLE = re.compile(r"\b(19|20)\d\d\b|/|\w\.\w")  # a year, a file, an address or an arXiv number
_SETTING_EDITS: tuple[SpecEdit, ...] = (
    SetKernel(5), SetExpansion(3.0), *(SwapActivation(old, "hard_swish") for old in ("relu", "relu6", "swish")),
)  # fmt: skip


class ZooContract:
    """Parametrize ``entry`` with zoo entries, ``scope="class"``."""

    def test_spec_is_read_back_equal_from_json_and_from_toml(self, entry: ZooEntry) -> None:
        """Both are the spec's written form, types of the settings included."""
        for again in (ArchSpec.loads(entry.spec.dumps()), ArchSpec.loads_toml(entry.spec.dumps_toml())):
            assert (again, repr(again)) == (entry.spec, repr(entry.spec))

    def test_published_facts_have_a_source(self, entry: ZooEntry) -> None:
        """A paper, a file or an address is named, also for the accuracy where it is from elsewhere."""
        assert _TRACEABLE.search(entry.source)
        assert not entry.top1_source or _TRACEABLE.search(entry.top1_source)
        assert entry.top1 is None or 0 < entry.top1 < 100

    def test_parameters_are_the_published_ones(self, entry: ZooEntry) -> None:
        """The network as built has as many trainable parameters as its source says."""
        assert counted(entry.spec).params > 0
        assert entry.params is None or counted(entry.spec).params == entry.params

    def test_macs_are_the_published_ones(self, entry: ZooEntry) -> None:
        """The counted MACs at the spec's input are those that its source says."""
        assert counted(entry.spec).profile.macs > 0
        assert entry.macs is None or counted(entry.spec).profile.macs == entry.macs

    def test_every_operator_is_counted(self, entry: ZooEntry) -> None:
        """None is without a formula, no parameter is left unread, and all of them are in the rows."""
        found = counted(entry.spec)
        assert found.profile.unknown == ()
        assert found.profile.unused == ()
        assert found.profile.params == found.params

    def test_receptive_field_is_known_everywhere(self, entry: ZooEntry) -> None:
        """Of every activation, and never smaller behind a stage than one pixel."""
        rows = [row for row in counted(entry.spec).profile.rows if not row.weight]
        assert [row.name for row in rows if row.receptive_field_px is None or min(row.receptive_field_px) < 1] == []

    def test_peak_memory_holds_what_the_dearest_layer_reads_and_writes(self, entry: ZooEntry) -> None:
        """Live activations are at their peak no less than any layer's input and output together."""
        found = counted(entry.spec).profile
        size, first = entry.spec.input, found.rows[0]
        assert found.peak_activation_bytes >= 4 * size.channels * size.height * size.width
        assert found.peak_activation_bytes == max(row.live_bytes for row in found.rows) >= first.live_bytes > 0

    def test_building_on_the_meta_device_takes_no_memory_for_weights(self, entry: ZooEntry) -> None:
        """An architecture is looked at, counted and compared without a tensor that has a storage."""
        assert counted(entry.spec).real_bytes == 0

    def test_maps_are_what_the_spec_says(self, entry: ZooEntry) -> None:
        """Each stage's output has the shape of ``feature_maps``, at the spec's input and at a small one."""
        small = small_run(entry.spec)
        assert counted(entry.spec).shapes == expected_shapes(entry.spec)
        assert small.shapes == expected_shapes(small.spec)

    def test_forward_gives_finite_outputs_per_class(self, entry: ZooEntry) -> None:
        """A batch of two gives ``(2, classes)``, or to segment ``(2, classes, h, w)``, or a row per box to detect."""
        run = small_run(entry.spec)
        if run.spec.task == "detect":
            assert run.output_shape == (2, len(box_code(run.spec)), EXTRA_COLUMNS + run.spec.classes)
        else:
            assert run.output_shape[:2] == (2, run.spec.classes)
            assert len(run.output_shape) == (4 if run.spec.task == "segment" else 2)
        assert run.finite

    def test_every_parameter_gets_a_gradient(self, entry: ZooEntry) -> None:
        """Nothing in the network is cut off from its output."""
        assert small_run(entry.spec).without_gradient == ()

    def test_same_seed_gives_the_same_weights(self, entry: ZooEntry) -> None:
        """``build`` depends on nothing but spec and seed."""
        spec = slim(small_run(entry.spec).spec)
        first = networks.weights_digest(build(spec, seed=5))
        torch.rand(3)
        assert networks.weights_digest(build(spec, seed=5)) == first
        assert networks.weights_digest(build(spec, seed=6)) != first


class ZooEditsContract:
    """Parametrize ``entry`` with zoo entries, and ``edit`` with ``EVERY_EDIT`` or ``SOME_EDITS``; ``scope="class"``."""

    def test_edited_network_has_the_maps_that_its_spec_says(self, entry: ZooEntry, edit: Edit) -> None:
        """Narrower or wider, shallower or deeper, at odd sizes: it builds, and its maps are what the spec says.

        At half its size, kernel, expansion and activation change as well. No weights are made.
        """
        width, depth, size = edit
        edited = ScaleWidth((), width).edit(entry.spec)
        with suppress(TransformError):  # it has no runs of blocks
            edited = ScaleDepth(depth).edit(edited)
        for setting in _SETTING_EDITS if size == "half" else ():
            with suppress(TransformError):  # it has none of them
                edited = setting.edit(edited)
        own = entry.spec.input.height
        least = enough_pixels(edited) if size == "smallest" else 0
        sides = {"smallest": (least, least + 1), "half": (own // 2 | 1, own * 2 // 3), "own": (own, own + 1)}
        edited = sized(edited, *sides[size])
        assert traced_shapes(edited) == expected_shapes(edited)


class ZooExportContract:
    """Parametrize ``entry`` with zoo entries. Skipped where ONNX Runtime is not installed."""

    @classmethod
    def exported(cls, spec: ArchSpec) -> ArchSpec:
        """Return what is exported of a network: it, at a small input."""
        return sized(spec, enough_pixels(spec, networks.PIXELS))

    @pytest.fixture(scope="class")
    @classmethod
    def candidate(cls, entry: ZooEntry) -> Candidate:
        """The network, with statistics as after training."""
        return networks.seasoned(cls.exported(entry.spec))

    @pytest.fixture(scope="class")
    @classmethod
    def artifact(cls, candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
        """The network, exported."""
        runtime = RUNTIMES.get("onnxruntime")
        if reason := runtime.missing():
            pytest.skip(reason)
        return runtime.export(candidate, tmp_path_factory.mktemp("exported"))

    def test_onnx_runtime_computes_what_pytorch_computes(self, candidate: Candidate, artifact: Artifact) -> None:
        """By at most the runtime's ``rtol`` of the largest."""
        runtime = RUNTIMES.get("onnxruntime")
        inputs = networks.inputs(candidate, seed=2)
        wanted = networks.outputs(candidate, inputs).numpy()
        found = runtime.load(artifact, 1)(inputs.numpy())
        assert found.shape == wanted.shape
        assert abs(found - wanted).max() <= runtime.rtol * abs(wanted).max()

    def test_every_kernel_is_given_to_a_module_that_ran(self, candidate: Candidate, artifact: Artifact) -> None:
        """Fused, renamed, or put in by the runtime: its time belongs to a module that tracing knows."""
        times = RUNTIMES.get("onnxruntime").layer_times(artifact, 1, 1)
        ran = {node.module for node in trace(candidate.module, networks.inputs(candidate)[:1]).nodes}
        assert times is not None
        assert [row for row in times.rows if row.module not in ran] == []


def _enough_pixels(spec: ArchSpec) -> int:
    return enough_pixels(spec, networks.PIXELS)
