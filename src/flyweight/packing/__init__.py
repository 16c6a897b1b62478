"""A network as one ``.fly`` file, and back: norms folded, steps by what each weight does to the output, then the codec.

``pack`` gives the bytes, ``open_packed`` a network that runs: its spec, preprocessing and class names are inside.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flyweight import codec
from flyweight.codec import Quantized
from flyweight.contracts import Candidate, Change, Preprocessing, Progress, Silent
from flyweight.errors import FileError, FlyweightError, UsageError
from flyweight.narrow import check_built_by
from flyweight.packing._neutral import neutral, restored, stored
from flyweight.packing._rounding import MADE_UP, REAL, Effect, Rounding, effect, steps_for
from flyweight.packing._sensitivity import Measured, batches, flat, measure, synthetic
from flyweight.packing._update import Base, changes, read_base, summed, told
from flyweight.spec import ArchSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

VERSION, UPDATE_VERSION = "1", "2"
SNR_DB = 20.0
SNR_RANGE = (0.0, 60.0)  # dB
NOISE_RANGE = (-10.0, 80.0)  # dB; beyond 0 the noise is louder than the output
NEAR_BYTES = 0.997  # of a limit, that a file is to use
SYNTHETIC = 64  # inputs made up where no images are given
NEAR_DB = 0.25  # how near the noise comes to what was asked for
PASSES = 4  # at most, to come near
LEAST_SIGNAL = 1e-12
DB_A_BIT = 20 * math.log10(2)


@dataclass(frozen=True)
class Packed:
    """A packed network.

    Attributes:
        data: the file's bytes.
        weights: how many numbers the network has.
        float_bytes: of its tensors in float32.
        snr_db: the output's power over that of its error: measured on ``judged`` inputs, or where these are 0 expected.
        inputs: how many inputs the rounding was chosen by; 0: made-up ones.
        judged: how many inputs, if possible others, ``snr_db`` was measured on.
        ideal_bytes: the code length of the weights by the file's own tables.
    """

    data: bytes
    weights: int
    float_bytes: int
    snr_db: float
    inputs: int
    judged: int
    ideal_bytes: float


class Packer:
    """A network made ready to be packed: its sensitivity is measured once, for any number of files.

    Args:
        candidate: of a spec, in float.
        inputs: preprocessed ``(n, C, H, W)``, that the rounding is chosen by; None: made up.
        judged: others, that the error of the outputs is measured on; None: the same, where they are not made up.
        base: what the device has; the files are updates of it.
        progress: told of the measuring.

    Raises:
        UsageError: it has no spec, other layers or widths than its spec builds or the base has, is quantized, or is
            not finite.
    """

    def __init__(
        self,
        candidate: Candidate,
        inputs: NDArray[np.float32] | None = None,
        progress: Progress | None = None,
        judged: NDArray[np.float32] | None = None,
        base: Base | None = None,
    ) -> None:
        _check(candidate)
        self.progress = progress or Silent()
        self.inputs = 0 if inputs is None else len(inputs)
        seen = synthetic(candidate.preprocessing, SYNTHETIC) if inputs is None else torch.from_numpy(inputs)
        judges = inputs if judged is None else judged
        self.judged = seen[:0] if judges is None else torch.from_numpy(judges)
        self.module = neutral(candidate)
        self.whole = stored(self.module)
        self.tensors, self.under = changes(self.whole, base) if base else (self.whole, {})
        self.description = _description(candidate, self.inputs, told(base, self.under) if base else None)
        self.measured: Measured = measure(self.module, seen, self.progress)
        self.wanted = self._outputs()
        trust = MADE_UP if inputs is None else REAL
        found = {n: s for n, s in self.measured.tensors.items() if n in self.tensors}
        self.effects: Mapping[str, Effect] = {name: effect(each, trust) for name, each in found.items()}
        self.weights = sum(t.size for t in self.tensors.values())

    def quantized(self, noise_db: float) -> Quantized:
        """Return the weights rounded so that the noise is ``noise_db`` below the output, as far as noise adds up."""
        coded = {name: self.tensors[name] for name in self.effects}
        share = self.measured.power * 10 ** (-noise_db / 10) / max(sum(t.size for t in coded.values()), 1)
        steps = steps_for({name: self.whole[name] for name in coded}, self.effects, max(share, LEAST_SIGNAL))
        rounding = {
            name: Rounding(self.effects[name], steps[name], codec.matrix_shape(tensor.shape))
            for name, tensor in coded.items()
            if self.effects[name].feedback
        }
        return codec.quantize(self.tensors, steps, rounding=rounding)

    def snr_db(self, quantized: Quantized) -> float:
        """Return the outputs' power over that of their error, measured on the judged inputs; there must be some."""
        with loaded(self.module, self._values(quantized)):
            outputs = self._outputs()
        error, power = float((outputs - self.wanted).square().sum()), float(self.wanted.square().sum())
        return 10 * math.log10(max(power, LEAST_SIGNAL) / max(error, LEAST_SIGNAL * 1e-6))

    def _values(self, quantized: Quantized) -> dict[str, NDArray[Any]]:
        """Return what the file, added to its base, decodes to."""
        return {n: v + self.under[n] if n in self.under else v for n, v in quantized.values().items()}

    def _outputs(self) -> Tensor:
        with torch.no_grad():
            parts = [flat(self.module(batch)).double() for batch in batches(self.judged)]
        return torch.cat(parts) if parts else torch.zeros(0, 1, dtype=torch.float64)

    def packed(self, quantized: Quantized, expected_db: float) -> Packed:
        """Return the file; ``expected_db`` is told of it where there is nothing to measure on."""
        data = codec.encode(quantized, self.description)
        floats = sum(4 * t.numel() for t in self.module.state_dict().values() if t.is_floating_point())
        judged = len(self.judged)
        snr_db = self.snr_db(quantized) if judged else expected_db
        return Packed(data, self.weights, floats, snr_db, self.inputs, judged, quantized.ideal_bytes)

    def at_snr(self, snr_db: float = SNR_DB) -> Packed:
        """Return the file whose outputs have that ratio of signal to noise: on the judged inputs, to within NEAR_DB.

        The nearest of PASSES tries, where none comes so near: of a small network the error jumps from one to the next.

        On made-up inputs alone it is what noise of that size should do: they are no measure of real ones.

        Raises:
            UsageError: outside SNR_RANGE.
        """
        if not SNR_RANGE[0] <= snr_db <= SNR_RANGE[1]:
            raise UsageError(f"a ratio of {snr_db:g} dB; allowed are {SNR_RANGE[0]:g} to {SNR_RANGE[1]:g}.")
        noise_db = snr_db
        tried: list[tuple[float, float, Quantized]] = []
        self.progress.start("round the weights", PASSES)
        for _ in range(PASSES):
            quantized = self.quantized(noise_db)
            missing = snr_db - self.snr_db(quantized) if len(self.judged) else 0.0
            tried.append((abs(missing), noise_db, quantized))
            self.progress.advance(1, f"{snr_db - missing:.1f} dB")
            if abs(missing) < NEAR_DB:
                break
            noise_db += missing
        self.progress.finish()
        _, noise_db, quantized = min(tried, key=lambda one: one[0])
        return self.packed(quantized, noise_db)

    def within(self, max_bytes: int) -> Packed:
        """Return the best file of at most that many bytes.

        Raises:
            UsageError: even at the coarsest rounding it is larger.
        """
        noise_db, slope = self._noise_for(max_bytes), self._bytes_a_db()
        for _ in range(PASSES):
            made = self.packed(self.quantized(noise_db), noise_db)
            if (over := len(made.data) - max_bytes) <= 0:
                return made
            noise_db -= 3 * over / slope + 0.05  # a dB is fewer bytes where noise is loud
        raise UsageError(_too_small(max_bytes, len(made.data)))

    def _bytes_a_db(self) -> float:
        return max(self.weights, 1) / 8 / DB_A_BIT  # where noise is small

    def _noise_for(self, max_bytes: int) -> float:
        """Return the least noise, in dB below the output, whose file takes about that many bytes by their estimate."""
        overhead = len(codec.encode(codec.quantize({}, {}), self.description))
        (low, high), noise_db = NOISE_RANGE, SNR_DB
        self.progress.start("round the weights", 2 * PASSES)
        for _ in range(2 * PASSES):
            about = self.quantized(noise_db).about_bytes() + overhead
            self.progress.advance(1, f"about {about:,.0f} bytes")
            if about > max_bytes and noise_db == low:
                raise UsageError(_too_small(max_bytes, int(about)))
            if NEAR_BYTES * max_bytes <= about <= max_bytes or noise_db == high:
                low = noise_db
                break
            low, high = (low, noise_db) if about > max_bytes else (noise_db, high)
            wanted = noise_db - (about - (1 + NEAR_BYTES) / 2 * max_bytes) / self._bytes_a_db()
            noise_db = wanted if low < wanted < high else (low + high) / 2 if low > NOISE_RANGE[0] else low
        self.progress.finish()
        return low

    def smallest(self, good: Callable[[nn.Module], bool], steps: int = 6) -> Packed | None:
        """Return the smallest file, by halving, whose network ``good`` accepts; None where it accepts none.

        Args:
            good: told of a network with the file's weights, in eval mode.
            steps: halvings of the range of noise, 6 to 42 dB.
        """
        low, high = 6.0, 42.0
        best: tuple[Quantized, float] | None = None
        self.progress.start("look for the smallest", steps)
        for _ in range(steps):
            middle = (low + high) / 2
            quantized = self.quantized(middle)
            with loaded(self.module, self._values(quantized)):
                accepted = good(self.module)
            self.progress.advance(1, f"{middle:.1f} dB: {'kept' if accepted else 'too much is lost'}")
            low, high, best = (low, middle, (quantized, middle)) if accepted else (middle, high, best)
        self.progress.finish()
        return self.packed(*best) if best is not None else None


class loaded:
    """In its ``with`` block a module has other tensors; afterwards its own again."""

    def __init__(self, module: nn.Module, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.module = module
        self.given = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}

    def __enter__(self) -> None:
        state = self.module.state_dict()
        self.own = {name: state[name].clone() for name in self.given}
        self.module.load_state_dict(self.given, strict=False)

    def __exit__(self, *_: object) -> None:
        self.module.load_state_dict(self.own, strict=False)


def _too_small(max_bytes: int, least: int) -> str:
    return (
        f"at most {max_bytes:,} bytes are asked for, but the network takes about {least:,} at any fidelity worth "
        "having. Allow more bytes, or make the network smaller first: flyweight slim."
    )


def _check(candidate: Candidate) -> None:
    if candidate.spec is None:
        raise UsageError(
            "this module has no spec, without which one file does not give back a running network. Pack a network of "
            "the zoo, of a spec file, or saved weights (.safetensors)."
        )
    if candidate.quantization is not None:
        raise UsageError("the network is quantized to int8 already. Pack the float network that it was made from.")
    check_built_by(candidate.module, candidate.spec)


def _description(candidate: Candidate, images: int, base: dict[str, Any] | None) -> dict[str, Any]:
    assert candidate.spec is not None
    return {
        **({"base": base} if base else {}), "flyweight": UPDATE_VERSION if base else VERSION,
        "spec": candidate.spec.to_json(), "preprocessing": candidate.preprocessing.to_json(),
        "history": [asdict(change) for change in candidate.history], "images": images,
    }  # fmt: skip


def pack(
    candidate: Candidate,
    *,
    snr_db: float = SNR_DB,
    inputs: NDArray[np.float32] | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Return a network as a file's bytes, at a ratio of signal to noise of its outputs.

    Args:
        candidate: of a spec, in float.
        inputs: preprocessed ``(n, C, H, W)``, that rounding is chosen by; None: made up.

    Raises:
        UsageError: as ``Packer`` and ``Packer.at_snr``.
    """
    return Packer(candidate, inputs, progress).at_snr(snr_db)


def state_bytes(candidate: Candidate) -> bytes:
    """Return the tensors as ``torch.save`` writes a state dict."""
    memory = io.BytesIO()
    torch.save(candidate.module.state_dict(), memory)
    return memory.getvalue()


def open_packed(path: Path, base: Sequence[Path] = ()) -> Candidate:
    """Return the network of a ``.fly`` file.

    Args:
        base: of an update: the whole file that it is for, and the updates in between.

    Raises:
        FileError: missing, damaged, without a network's description, of another network than its spec says, or an
            update of another base.
    """
    container = codec.open_container(path)
    said = container.description
    try:
        if said["flyweight"] not in (VERSION, UPDATE_VERSION):
            raise FileError(
                f"{path}: packed by version {said['flyweight']!r}; this one reads {VERSION} and {UPDATE_VERSION}. "
                "Update flyweight."
            )
        tensors = summed(container, path, read_base(base) if base else None)
        spec = ArchSpec.from_json(said["spec"])
        preprocessing = Preprocessing.from_json(said["preprocessing"])
        history = tuple(
            Change(c["transform"], c["settings"], tuple(c["layers"]), c["before"], c["after"]) for c in said["history"]
        )
        return Candidate(restored(spec, tensors), preprocessing, spec, history)
    except FileError:
        raise
    except FlyweightError as error:
        raise FileError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise FileError(
            f"{path}: holds no network ({type(error).__name__}: {error}). Was it made by: flyweight pack?"
        ) from error


__all__ = ["SNR_DB", "Base", "Packed", "Packer", "open_packed", "pack", "read_base", "state_bytes"]
