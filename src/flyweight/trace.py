"""trace(module, example) -> Graph: the only file that knows how tracing works.

The module is deep-copied with tensors of the meta device (a shape and a dtype, no values) in place of its weights, and
the copy runs once under a dispatch mode that sees every operator, however it was called: as a module, a function or
``x @ y``. In inference mode PyTorch shows composite operators (``linear``, ``matmul``, attention) before taking them
apart: those in ``OPERATORS`` are kept whole, the others are taken apart until only kernels are left. Nothing can
escape.

Why not ``torch.export(strict=False)``: it takes 0.7 s on MobileNetV2 where this takes 0.1 s, refuses control flow that
plain Python runs, loses in-place and view information (it functionalizes), and runs the user's own module. Why not fake
tensors: they import the compiler (1.1 s), and their decompositions hide some views that eager code makes.

Why a copy: caches, counters and buffers that ``forward`` writes are the copy's, so that no trace is left, also after a
failure. Hooks of the user's own run, on the copy, because weight norm and pruning are made of them.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from flyweight._meta import Stage, info_of, output_like, staged, stand_in_for, tensors_in
from flyweight.errors import FlyweightError, GraphError
from flyweight.graph import AttrValue, Graph, Node, TensorInfo
from flyweight.operators import DROPOUTS, OPERATORS

Example: TypeAlias = "Tensor | tuple[Any, ...] | Mapping[str, Any]"


def trace(module: nn.Module, example: Example) -> Graph:
    """Return the graph of what ``module`` computes in eval mode on an input like ``example``.

    Args:
        module: any module; left exactly as it is, in training mode or not, on whatever device.
        example: a tensor, a tuple of positional arguments or a mapping of keyword arguments. Of tensors only shapes and
            dtypes matter; arguments that are not tensors are passed on.

    Raises:
        GraphError: the module can't be copied, fails on this input, or decides by the values of a tensor; names the
            layer.
    """
    _check(module, example)
    with _quiet_state():
        stage = staged(module, example)
        recorder = _Recorder(stage)
        try:
            with torch.inference_mode():
                stage.module.eval()
                with recorder:
                    result = stage.module(*stage.args, **stage.kwargs)
        except FlyweightError:
            raise
        except Exception as error:
            raise _explain(error, recorder, example) from error
        return recorder.graph(result)


def _check(module: object, example: object) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise GraphError(
            "the module is a TorchScript module, whose layers can't be seen. Bring the Python module it came from."
        )
    if not isinstance(module, nn.Module):
        raise GraphError(f"expected a torch.nn.Module, found {type(module).__name__}.")
    if not isinstance(example, Tensor | tuple | Mapping):
        raise GraphError(
            f"the example input is of type {type(example).__name__}. Pass a tensor, a tuple of positional arguments, "
            "or a dict of keyword arguments."
        )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise GraphError(
                f"'{name}' has no shape yet (a lazy layer). Run the module once on an input, then trace it."
            )


@contextmanager
def _quiet_state() -> Iterator[None]:
    """Leave random states as they are, keep attention layers off their fused path, which hides them, print no warnings.

    What a network warns of concerns its runs, and a trace is none.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.backends.mha.set_fastpath_enabled(False)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


# What an error's text tells of its cause -> what to do; in PyTorch's own words, the first that fits.
_CAUSES = (
    (
        "does not require grad",
        "It computes gradients inside forward, which tracing can't follow. Trace the part that runs at inference.",
    ),
    (
        "fake impl",
        "That operator tells no shapes before it runs (quantized and sparse ones don't). Analyse the float, dense "
        "network that it was made from.",
    ),
    (
        "meta",
        "Tracing has shapes, not values: keep .numpy(), .tolist(), lengths and the like out of forward, or trace the "
        "parts before and behind it.",
    ),
    ("unallocated storage", "Tracing has shapes, not values: keep .tolist() and the like out of forward."),
    ("maximum recursion depth", "Does it call itself without an end?"),
    (
        "positional argument",
        "Pass all arguments: a tuple of positional ones, or a dict of keyword arguments. A command gives one image: "
        "name a function whose module takes that and calls yours.",
    ),
)
_OTHER_INPUT = (
    "Does the module accept this input? A command gives one image: where yours takes something else, name a function "
    "whose module takes an image and calls yours."
)


def _explain(error: Exception, recorder: _Recorder, example: Example) -> GraphError:
    where = f"layer '{recorder.failed_in(error) or '(root)'}'"
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_in(example)) or "no tensor"
    said = str(error).strip().split("\n")[0].split(", but there was no")[0].split(". ")[0].rstrip(".")
    help_ = next((text for sign, text in _CAUSES if sign in str(error)), _OTHER_INPUT)
    return GraphError(f"{where} failed on an example input of shape {shapes}: {type(error).__name__}: {said}. {help_}")


def _named_tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _named_tensors(item, f"{name}.{key}")
    elif isinstance(value, tuple | list) and len(value) == 1:
        yield from _named_tensors(value[0], name)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _named_tensors(item, f"{name}.{index}")
    else:
        found = list(tensors_in(value))
        yield from ((name if len(found) == 1 else f"{name}.{i}", tensor) for i, tensor in enumerate(found))


@dataclass
class _Call:
    """A module that is running: where, and how often it called which of its children."""

    path: str
    calls: Counter[int] = field(default_factory=Counter)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes a node for every operator."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stage = stage
        self.nodes: list[Node] = []
        self.infos: dict[str, TensorInfo] = {}
        self.names: dict[int, str] = {}  # id of a tensor -> its newest name
        self.roots: dict[int, Tensor] = {}  # storage -> the first tensor seen on it
        self.writes: Counter[int] = Counter()  # storage -> how often it was written in place
        self.seen: dict[int, int] = {}  # id of a tensor -> that number when it got its name
        self.held: dict[str, int] = {}
        self.kept = {id(tensor) for tensor in stage.keep}
        self.watched: dict[int, tuple[Tensor, str, int]] = {}  # id of a tensor -> it, its name, the recorder's own refs
        self.weights: set[str] = set()  # activations that depend on no input
        self.unknown_values: set[int] = (
            set()
        )  # storages of real tensors into which values from a meta tensor were written
        self.taken = {info.name for info in stage.owned.values()}
        self.stack = [_Call("")]
        self.failure: tuple[BaseException | None, str] = (None, "")
        self.paths: dict[int, list[str]] = {}
        for path, module in stage.module.named_modules(remove_duplicate=False):
            self.paths.setdefault(id(module), []).append(path)
        for module in stage.module.modules():
            if isinstance(module, torch.jit.ScriptModule):  # it takes no hooks: what it runs is its caller's
                continue
            module.register_forward_pre_hook(self._enter, prepend=True, with_kwargs=True)
            module.register_forward_hook(self._leave, always_call=True)
        for tensor in stage.keep:
            if id(tensor) in stage.owned:
                self.roots.setdefault(_storage(tensor), tensor)
        given = [*_named_tensors(stage.args, "input"), *_named_tensors(stage.kwargs, "input")]
        self.inputs = tuple(self._activation(name, tensor) for name, tensor in given if id(tensor) not in self.names)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True, the default, imports the compiler: 1.1 s

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        caller = self.stack[-1]
        paths = self.paths.get(id(module), [caller.path])
        below = [path for path in paths if not caller.path or path.startswith(caller.path + ".")] or paths
        depth = min(path.count(".") for path in below)
        nearest = [path for path in below if path.count(".") == depth]
        # One module under two names of the same parent: its calls take the names in turn.
        path = nearest[caller.calls[id(module)] % len(nearest)]
        caller.calls[id(module)] += 1
        self.stack.append(_Call(path))

    def _leave(self, module: nn.Module, args: Any, result: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and error is not self.failure[0]:
            self.failure = (error, self.stack[-1].path)
        self.stack.pop()

    def failed_in(self, error: BaseException) -> str:
        """Return the path of the module in which ``error`` was raised; '' where unknown."""
        return self.failure[1] if error is self.failure[0] else ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        base = _base_name(func)
        if func.namespace == "prim":
            return func(*args, **kwargs)
        if base in DROPOUTS and not (args[2] if len(args) > 2 else kwargs["train"]):
            return args[0]
        if base in ("aten.detach", "aten.alias"):
            return self._renamed(args[0], func(*args, **kwargs))
        if base not in OPERATORS:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
            args = self._with_values(func, args)
        out = self._run(func, args, kwargs)
        self._note_held()
        self._record(func, args, kwargs, out)
        return out

    def _renamed(self, tensor: Tensor, same: Tensor) -> Tensor:
        """Let ``same``, another object with the same elements, go by the name of ``tensor``."""
        name, info = self._read(tensor)
        if info is None:
            self.names[id(same)], self.seen[id(same)] = name, self.writes[_storage(same)]
        else:
            self.stage.owned[id(same)] = info
        self._keep(same)
        return same

    def _with_values(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return ``args`` with the true values of buffers.

        Raises:
            GraphError: one depends on the network's input.
        """
        real = tuple(a if id(a) in self.names else self.stage.real.get(id(a), a) for a in args)
        if any(tensor.is_meta or _storage(tensor) in self.unknown_values for tensor in tensors_in(real)):
            raise GraphError(
                f"layer '{self.stack[-1].path or '(root)'}' decides by the values of a tensor ({_base_name(func)}), so "
                "that its graph differs from input to input. Decide by shapes, or trace the parts before and behind it."
            )
        return real

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call the operator; real tensors (made by ``torch.arange`` and the like) join meta ones as stand-ins."""
        found = list(tensors_in((args, tuple(kwargs.values()))))
        if "device" in kwargs and kwargs["device"] is not None:
            kwargs = {**kwargs, "device": torch.device("meta" if any(t.is_meta for t in found) else "cpu")}
        if (made := output_like(func, args, kwargs)) is not None:
            return made
        if all(t.is_meta for t in found) or not any(t.is_meta for t in found):
            out = func(*args, **kwargs)
            if any(not t.is_meta and _storage(t) in self.unknown_values for t in found):
                self.unknown_values.update(_storage(t) for t in tensors_in(out))
            return out
        stand_ins = {id(t): t if t.is_meta else stand_in_for(t) for t in found}
        originals = {id(stand_ins[id(t)]): t for t in found}
        args, kwargs = _replaced((args, kwargs), stand_ins)
        out = func(*args, **kwargs)
        for tensor in _arguments(func, args, kwargs)[2]:
            original = originals[id(tensor)]
            if not original.is_meta:
                self.unknown_values.add(_storage(original))
        return _replaced(out, originals)

    def _note_held(self) -> None:
        """Note which activations the network's own code still refers to: eager PyTorch can't free those yet."""
        for key, entry in list(self.watched.items()):
            if sys.getrefcount(entry[0]) > entry[2]:
                self.held[entry[1]] = len(self.nodes)
            else:
                del self.watched[key]

    def _record(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        operands, attrs, written = _arguments(func, args, kwargs)
        fresh = {id(t): t for t in tensors_in(out) if id(t) not in {id(o) for o in operands}}
        changed = {id(t): t for t in written}
        for tensor in written:  # what a view writes, its base shows
            root = self.roots.get(_storage(tensor), tensor)
            changed.setdefault(id(root), root)
        outputs = [*changed.values(), *(t for i, t in fresh.items() if i not in changed)]
        if not outputs:
            return
        read = [*operands, *(t for t in changed.values() if id(t) not in {id(o) for o in operands})]
        names, params = [], []
        for tensor in read:
            name, info = self._read(tensor)
            names.append(name)
            params += [info] if info else []
        op = _normalized(func, attrs)
        name = self._unique(f"{self.stack[-1].path}/{op.removeprefix('aten.')}")
        if op in ("conv", "conv_transpose"):
            attrs["kernel_size"] = tuple(operands[1].shape[2:])
        own = {info.name for info in params}
        aliases = tuple(self._alias(t, changed, operands) for t in outputs)
        self.writes.update({_storage(t) for t in written})
        made = [self._activation(name if len(outputs) == 1 else f"{name}:{i}", t) for i, t in enumerate(outputs)]
        inputs = tuple(n for n in names if n not in own)
        attrs |= {"operands": tuple(names)} if names != [*inputs, *dict.fromkeys(p.name for p in params)] else {}
        attrs |= {"alias_of": aliases} if any(aliases) else {}
        attrs |= {"inplace": True} if changed else {}
        attrs |= {"weight": True} if all(n in own or n in self.weights for n in names) else {}
        if attrs.get("weight") is True:
            self.weights.update(made)
        unique = tuple({info.name: info for info in params}.values())
        self.nodes.append(Node(name, op, inputs, tuple(made), self.stack[-1].path, unique, tuple(attrs.items())))

    def _alias(self, tensor: Tensor, changed: Mapping[int, Tensor], operands: list[Tensor]) -> str:
        if id(tensor) in changed:
            return self._read(tensor)[0]
        shared = (other for other in operands if _storage(other) == _storage(tensor))
        return next((self._read(other)[0] for other in shared), "")

    def _read(self, tensor: Tensor) -> tuple[str, TensorInfo | None]:
        """Return the tensor's name, and what it is unless it is an activation."""
        if id(tensor) in self.names:
            if self.seen[id(tensor)] != self.writes[_storage(tensor)]:
                self._refresh(tensor)
            return self.names[id(tensor)], None
        if id(tensor) not in self.stage.owned:  # e.g. a tensor made at import time, in a closure or a list
            self.stage.owned[id(tensor)] = info_of(self._unique("(constant)"), tensor, "constant")
            self._keep(tensor)
        return self.stage.owned[id(tensor)].name, self.stage.owned[id(tensor)]

    def _refresh(self, tensor: Tensor) -> None:
        """Name a view anew whose storage was written through another tensor."""
        root = self.roots[_storage(tensor)]
        if _layout(root) == _layout(tensor):
            self.names[id(tensor)], self.seen[id(tensor)] = self.names[id(root)], self.seen[id(root)]
            return
        source, name = self.names[id(root)], self._unique(f"{self.stack[-1].path}/alias")
        attrs: list[tuple[str, AttrValue]] = [("alias_of", (source,))]
        if source in self.weights:
            attrs.append(("weight", True))
            self.weights.add(name)
        self._activation(name, tensor)
        self.nodes.append(Node(name, "alias", (source,), (name,), self.stack[-1].path, (), tuple(attrs)))

    def _activation(self, name: str, tensor: Tensor) -> str:
        self._keep(tensor)
        self.roots.setdefault(_storage(tensor), tensor)
        self.taken.add(name)
        # Its own: kept, in the entry, as the root of its storage, and as the argument of getrefcount.
        self.watched[id(tensor)] = tensor, name, 3 + (self.roots[_storage(tensor)] is tensor)
        self.names[id(tensor)], self.seen[id(tensor)] = name, self.writes[_storage(tensor)]
        self.infos[name] = info_of(name, tensor)
        return name

    def _keep(self, tensor: Tensor) -> None:
        if id(tensor) not in self.kept:  # so that no id is used twice
            self.kept.add(id(tensor))
            self.stage.keep.append(tensor)

    def _unique(self, name: str) -> str:
        chosen, count = name, 1
        while chosen in self.taken:
            chosen, count = f"{name}_{count}", count + 1
        self.taken.add(chosen)
        return chosen

    def graph(self, result: Any) -> Graph:
        """Return what was recorded; ``result`` is what the module returned."""
        for tensor in tensors_in(result):
            if id(tensor) not in self.names:  # it returns a parameter as it is
                _, info = self._read(tensor)
                name = self._activation(self._unique("/constant"), tensor)
                alias = (("alias_of", (info.name,)), ("weight", True)) if info else ()
                self.nodes.append(Node(name, "constant", (), (name,), "", (info,) if info else (), alias))
        outputs = tuple(dict.fromkeys(self.names[id(tensor)] for tensor in tensors_in(result)))
        read = {info.name for node in self.nodes for info in node.params}
        unused = {i.name: i for i in self.stage.owned.values() if i.name not in read and i.kind != "constant"}
        held = tuple(self.held.items())
        return Graph(self.inputs, outputs, tuple(self.nodes), tuple(self.infos.values()), tuple(unused.values()), held)


def _replaced(value: Any, by: Mapping[int, Tensor]) -> Any:
    """Return nested arguments with tensors replaced by ``id``."""
    if isinstance(value, Tensor):
        return by.get(id(value), value)
    if isinstance(value, dict):
        return {key: _replaced(item, by) for key, item in value.items()}
    return type(value)(_replaced(item, by) for item in value) if type(value) in (tuple, list) else value


def _storage(tensor: Tensor) -> int:
    if tensor.layout != torch.strided:
        raise GraphError(
            f"a tensor of layout {tensor.layout} was met; only dense tensors can be counted. Make it dense."
        )
    return int(tensor.untyped_storage()._cdata)


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def _arguments(func: Any, args: Any, kwargs: Any) -> tuple[list[Tensor], dict[str, AttrValue], list[Tensor]]:
    """Return the tensors that an operator reads, its settings by name, and those tensors that it writes into."""
    attrs: dict[str, AttrValue] = {"aten": _base_name(func).removeprefix("aten.")}
    operands: list[Tensor] = []
    written: list[Tensor] = []
    for index, formal in enumerate(func._schema.arguments):
        value = args[index] if index < len(args) else kwargs.get(formal.name, formal.default_value)
        found = list(tensors_in(value))
        operands += found
        if formal.alias_info is not None and formal.alias_info.is_write:
            written += found
        if not found and formal.name not in ("layout", "device", "pin_memory", "memory_format", "generator"):
            attrs[formal.name] = _plain(value)
    return operands, attrs, written


def _plain(value: Any) -> AttrValue:
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, bool | int | float | str | None) else str(value).removeprefix("torch.")


def _base_name(func: Any) -> str:
    """Return e.g. ``aten.add`` for ``aten::add_.Tensor``."""
    name = str(func._schema.name).replace("::", ".")
    return name.removesuffix("_") if not name.endswith("__") else name


def _normalized(func: Any, attrs: Mapping[str, AttrValue]) -> str:
    base = _base_name(func)
    op = OPERATORS.get(base, base)
    if op == "conv" and attrs.get("transposed"):
        return "conv_transpose"
    limits = (attrs.get("min_val", attrs.get("min")), attrs.get("max_val", attrs.get("max")))
    return "relu6" if op in ("hardtanh", "clamp") and limits == (0, 6) else op
