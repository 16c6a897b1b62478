"""A network packed into one file, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from flyweight import codec, flow
from flyweight.cli import main
from flyweight.codec import Steps
from flyweight.contracts import Candidate, Preprocessing
from flyweight.errors import FileError, UsageError
from flyweight.packing import Packed, Packer, open_packed, pack
from flyweight.packing._neutral import neutral, restored, stored
from flyweight.packing._rounding import Effect, Rounding, effect
from flyweight.packing._sensitivity import Sensitivity, flat, measure
from flyweight.saved import load_candidate, save_candidate
from flyweight.testing import _networks as networks
from flyweight.transforms.fold_bn import FoldBatchNorm


@pytest.fixture(autouse=True)
def few_made_up_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyweight.packing.SYNTHETIC", 8)


@pytest.fixture(scope="module")
def packer() -> Packer:
    seen, judged = (networks.inputs(networks.inverted(), n, seed=n).numpy() for n in (16, 8))
    return Packer(networks.inverted(), seen, judged=judged)


@pytest.fixture(scope="module")
def file(packer: Packer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "net.fly"
    path.write_bytes(packer.at_snr(30).data)
    return path


def ratio_db(candidate: Candidate, other: Candidate) -> float:
    x = networks.inputs(candidate, 4, seed=9)
    with torch.no_grad():
        wanted, got = flat(candidate.module(x)).double(), flat(other.module(x)).double()
    return float(10 * torch.log10(wanted.square().sum() / (wanted - got).square().sum()))


@pytest.mark.parametrize("make", [networks.inverted, networks.segmenter, networks.branched, networks.gated])
def test_neutral_norms_compute_the_same_and_all_that_is_not_neutral_is_stored(make) -> None:  # type: ignore[no-untyped-def]
    candidate = make()
    module = neutral(candidate)
    assert candidate.spec is not None
    again = restored(candidate.spec, stored(module))
    x = networks.inputs(candidate)
    with torch.no_grad():
        wanted, found = flat(candidate.module(x)), flat(again(x))
        assert torch.equal(flat(module(x)), found)
    assert (wanted - found).abs().max() < 1e-4 * wanted.abs().max()


def test_a_file_gives_back_a_network_near_to_the_one_packed_with_all_that_travels(file: Path) -> None:
    candidate, again = networks.inverted(), open_packed(file)
    assert (again.spec, again.preprocessing, again.history) == (
        candidate.spec, candidate.preprocessing, candidate.history,
    )  # fmt: skip
    assert 26 < ratio_db(candidate, again) < 34  # 30 on other images
    assert flow.open_model(str(file)).spec == candidate.spec


def test_more_noise_is_a_smaller_file(packer: Packer) -> None:
    coarse, fine = packer.at_snr(12), packer.at_snr(30)
    assert len(coarse.data) < len(fine.data) < fine.float_bytes / 4
    assert abs(coarse.snr_db - 12) < 1 and abs(fine.snr_db - 30) < 1


def test_a_limit_in_bytes_is_kept_and_nearly_used(packer: Packer) -> None:
    limit = len(packer.at_snr(20).data)
    made = packer.within(limit)
    assert 0.98 * limit < len(made.data) <= limit
    with pytest.raises(UsageError, match="at most 900 bytes are asked for"):
        packer.within(900)


def test_the_smallest_that_is_good_enough_is_found(packer: Packer) -> None:
    candidate = networks.inverted()
    x = networks.inputs(candidate, 4, seed=9)
    with torch.no_grad():
        wanted = candidate.module(x)

    def good(module: torch.nn.Module) -> bool:
        with torch.no_grad():
            return float((module(x) - wanted).norm() / wanted.norm()) < 0.1  # 20 dB

    made = packer.smallest(good)
    assert isinstance(made, Packed) and made.snr_db > 15
    assert packer.smallest(lambda module: False) is None
    with torch.no_grad():
        assert torch.allclose(packer.module(x), wanted, atol=1e-4 * float(wanted.abs().max()))  # it is left as it was


def test_the_sensitivity_predicts_what_an_error_does_to_the_output() -> None:
    candidate = networks.inverted()
    module, x = neutral(candidate), networks.inputs(candidate, 64)
    name = next(n for n, p in module.named_parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[0] > 8)
    found = measure(module, x).tensors[name]
    weight = module.get_parameter(name)
    error = 1e-3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * weight.detach().std()
    with torch.no_grad():
        before = flat(module(x))
        weight += error
        moved = float((flat(module(x)) - before).double().square().sum(1).mean())
    e = error.reshape(len(weight), -1).double().numpy()
    predicted = float((np.einsum("rc,cd,rd->r", e, found.blocks[0], e) * found.rows / found.rows.mean()).sum())
    assert 0.5 < moved / predicted < 2


def test_later_columns_make_good_for_earlier_ones() -> None:
    """Two columns that the output sees as one: their errors cancel, where plain rounding adds them up."""
    seen = Sensitivity(np.ones(500), (np.array([[1.0, 1.0], [1.0, 1.0]], np.float32),))
    weights = np.random.default_rng(0).normal(size=(500, 2))
    found, steps = effect(seen), Steps(1.0, np.zeros(500, np.int32), np.zeros(2, np.int32))
    classes, bits = np.zeros((500, 2), np.uint8), np.zeros((1, 257), np.float32)
    chosen = Rounding(found, steps, (500, 2))(4 * weights, classes, bits, 0.0)
    error, plain = (chosen - 4 * weights).sum(1), (np.rint(4 * weights) - 4 * weights).sum(1)
    assert (error**2).mean() < 0.7 * (plain**2).mean()
    assert found.columns[0] < found.columns[1]  # what the second can make good for counts little


def test_without_feedback_rounding_is_to_the_nearest() -> None:
    weights = np.random.default_rng(0).normal(size=(7, 3)) * 4
    plain = Effect(np.ones(7), np.ones(3), (np.eye(3, dtype=np.float32),))
    steps = Steps(1.0, np.zeros(7, np.int32), np.zeros(3, np.int32))
    chosen = Rounding(plain, steps, (7, 3))(weights, np.zeros((7, 3), np.uint8), np.zeros((1, 257), np.float32), 0.0)
    np.testing.assert_array_equal(chosen, np.rint(weights))


def test_without_images_made_up_ones_do(tmp_path: Path) -> None:
    made = pack(networks.inverted(), snr_db=25)
    (tmp_path / "net.fly").write_bytes(made.data)
    assert (made.inputs, made.judged, made.snr_db) == (0, 0, 25) and ratio_db(
        networks.inverted(), open_packed(tmp_path / "net.fly")
    ) > 15


def test_what_has_no_spec_or_departed_from_it_is_refused() -> None:
    with pytest.raises(UsageError, match="this module has no spec"):
        Packer(Candidate(torch.nn.Conv2d(3, 4, 1), Preprocessing(8, 8)))
    with pytest.raises(UsageError, match="norms were folded"):
        Packer(FoldBatchNorm().apply(networks.inverted(), networks.NO_ENV))
    with pytest.raises(UsageError, match="allowed are 0 to 60"):
        pack(networks.inverted(), snr_db=70)


def rewritten(file: Path, change: dict[str, object], folder: Path) -> Path:
    """Return a file with the same tensors and another description."""
    container = codec.open_container(file)
    quantized = codec.quantize(dict(container.tensors()), {})
    out = folder / "other.fly"
    out.write_bytes(codec.encode(quantized, {**container.description, **change}))
    return out


@pytest.mark.parametrize(
    "change", [{"flyweight": "99"}, {"spec": {}}, {"spec": 3}, {"preprocessing": None}, {"history": [1]}]
)
def test_a_description_that_is_not_a_networks_is_an_error_that_names_the_file(
    file: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    with pytest.raises(FileError, match=r"other\.fly"):
        open_packed(rewritten(file, change, tmp_path))


def test_tensors_of_another_network_are_an_error(file: Path, tmp_path: Path) -> None:
    spec = networks.inverted().spec
    assert spec is not None
    with pytest.raises(FileError, match=r"in the network that the spec builds"):
        open_packed(rewritten(file, {"spec": json.loads(spec.replace(classes=3).dumps())}, tmp_path))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="flyweight")


def test_the_commands_pack_and_unpack_into_files_that_say_the_same(tmp_path: Path) -> None:
    candidate = networks.inverted()
    save_candidate(tmp_path / "net.safetensors", candidate)
    result = run("pack", tmp_path / "net.safetensors", "-o", tmp_path / "net.fly", "--max-bytes", "50k", "-q")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "net.fly").stat().st_size <= 50_000 and "x smaller than its" in result.stdout
    out = tmp_path / "out"
    result = run("unpack", tmp_path / "net.fly", "--to", "safetensors,pytorch,onnx", "--out", out)
    assert result.exit_code == 0, result.stderr
    packed = open_packed(tmp_path / "net.fly")
    assert ratio_db(packed, load_candidate(out / "net.safetensors")[0]) > 100
    state = torch.load(out / "net.pt", weights_only=True)
    assert all(torch.equal(state[name], tensor) for name, tensor in packed.module.state_dict().items())
    assert (out / "onnxruntime" / "model.onnx").stat().st_size > 50_000


def test_options_that_contradict_or_lack_each_other_are_told() -> None:
    assert "Give one of them" in run("pack", "mobilenet_v2_1.0", "--snr-db", 20, "--max-bytes", "1M").stderr
    assert "--max-drop needs images" in run("pack", "mobilenet_v2_1.0", "--max-drop", 1).stderr
    assert "write e.g. 2500000" in run("pack", "mobilenet_v2_1.0", "--max-bytes", "2,5M").stderr
    assert "no format is named 'onx'. Did you mean onnx?" in run("unpack", "x.fly", "--to", "onx").stderr
