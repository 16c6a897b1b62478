"""Check how the package's modules import one another; exit 1 and say where, if a rule is broken.

    python tools/check_layers.py [ROOT]

- A module imports only from rows below its own in ROWS; siblings on one row don't see each other. Imports inside
  functions count, and so do those under TYPE_CHECKING: a type from a row above is a dependency too.
- In a family's folder (its ``__init__`` makes a ``Family``) the members see the folder's underscore helpers, not each
  other, and the helpers don't see the members.
- Nobody imports the package root, and modules don't import in a circle.
- Only the modules in MAY_IMPORT_TORCH import torch; under TYPE_CHECKING anybody may, since nothing is loaded then.
- No Python file of the project is longer than MAX_LINES.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "flyweight"
MAX_LINES = 500

# from top to bottom; the name after 'flyweight.' decides the row
ROWS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli", "testing"),
    ("auto", "bench"),  # slim --auto: the flow's rungs, planned as they are made; a network in every runtime
    ("flow",),
    ("verify", "compress"),  # advice on what is measured here, and its check; prune, share, code
    # a rung; training on other data; boxes; the latency table; a network as one coded file; pruning to a measured time;
    # times from another machine; which layers of an int8 network stay in float
    ("rung", "transfer", "detection", "calibration", "packing", "prune_time", "remote", "qat", "int8"),
    ("search", "report", "measure"),
    ("ladder", "advise"),  # plans: sequences of edits, so above the transforms; advice: edits proposed and judged
    ("zoo", "transforms", "runtimes", "train", "saved", "pretrained"),
    ("evaluate",),  # preprocessing and scoring, which training, calibration and the parity check share
    ("budget", "health", "latency", "roofline", "guidelines", "compare", "placement", "resolution", "prune"),
    ("profile", "narrow", "fixed_point", "quantize", "share"),  # a quantized file run in integers; how one is made
    ("build", "trace", "onnx_graph", "count", "memory", "field", "data", "tasks", "codec", "coupling", "sparse"),
    # _meta: shapes for trace; _channels: the walk of coupling; environments: other Pythons, for runtimes
    ("blocks", "contracts", "device", "environments", "_meta", "_channels"),
    ("labels", "traits"),  # of a tensor's elements, through operators that move them; of nodes, for a device's rules
    ("spec", "graph", "family", "files", "boxes"),
    ("errors", "operators", "axis"),  # operators: their names and kinds; axis: intervals, for field
)
MAY_IMPORT_TORCH = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "blocks", "build", "trace", "_meta", "narrow", "data", "tasks", "health", "resolution", "train", "evaluate",
        "transforms", "runtimes", "saved", "pretrained", "transfer", "packing", "qat",  # weights <-> files
        "search.supernet", "measure._worker",
        "prune", "sparse", "share", "compress", "testing",  # contract tests feed modules and tensors to the members
    )
)  # fmt: skip
LOADERS = ("import_module", "importlib.import_module", "__import__")
CODE_FOLDERS = ("src", "tests", "tools", "benchmarks", "examples")


@dataclass(frozen=True)
class Import:
    """One imported module: who imports it, what, in which line, and whether only for type checkers."""

    importer: str
    target: str
    line: int
    typing_only: bool


def main(arguments: Sequence[str]) -> int:
    """Check the project at the given root (default: this one); print what is wrong."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    modules = find_modules(root / "src")
    problems = check(modules) + check_lengths(root)
    for problem in problems:
        print(problem)
    print(f"check_layers: {len(modules)} modules, {len(problems)} problems")
    return 1 if problems or not modules else 0


def find_modules(src: Path) -> dict[str, Path]:
    """Return every module of the package by its dotted name; a package by the name of its folder."""
    found = {}
    for path in sorted((src / PACKAGE).rglob("*.py")):
        parts = path.relative_to(src).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def check(modules: Mapping[str, Path]) -> list[str]:
    """Return one line per broken rule of importing."""
    imports = [entry for name, path in modules.items() for entry in imports_of(name, path, modules)]
    families = {e.importer for e in imports if e.target == f"{PACKAGE}.family" and is_package(modules[e.importer])}
    problems = [problem for entry in imports if (problem := _broken(entry, families, modules))]
    return problems + _unknown_rows(modules) + _cycles(imports, modules)


def is_package(path: Path) -> bool:
    """Return whether the file is a package's ``__init__``."""
    return path.name == "__init__.py"


def imports_of(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[Import]:
    """Yield all imports in one file, lazy ones included."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    typing_only = {id(child) for node in ast.walk(tree) if _is_typing_block(node) for child in _walk_body(node)}
    for node in ast.walk(tree):
        for target in _targets(node, name, is_package(path), modules):
            yield Import(name, target, getattr(node, "lineno", 0), id(node) in typing_only)


def _is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _walk_body(node: ast.AST) -> Iterator[ast.AST]:
    for statement in node.body if isinstance(node, ast.If) else ():  # not the else branch: it runs
        yield from ast.walk(statement)


def _targets(node: ast.AST, importer: str, package: bool, modules: Mapping[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, importer, package)
        for alias in node.names:  # 'from package import module' imports the module
            yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base
    elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in LOADERS:
        literals = [
            arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)
        ]  # a computed name can't be judged
        yield from (str(name) for name in literals)


def _base(node: ast.ImportFrom, importer: str, package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = importer.split(".")
    folder = parts[: len(parts) - node.level + (1 if package else 0)]
    return ".".join([*folder, *([node.module] if node.module else [])])


def _broken(entry: Import, families: set[str], modules: Mapping[str, Path]) -> str | None:
    """Return what is wrong with one import, or None."""
    where = f"{modules[entry.importer]}:{entry.line}: {entry.importer} imports {entry.target}"
    if entry.target.split(".")[0] == "torch" or entry.target == "safetensors.torch":
        return None if entry.typing_only or _may_import_torch(entry.importer) else f"{where}, but may not import torch"
    if entry.target.split(".")[0] != PACKAGE:
        return None
    if entry.target == PACKAGE:
        return f"{where}: the package root. Import from the module that holds the name"
    if _unit(entry.importer) == _unit(entry.target):
        return _broken_in_folder(entry, families, where)
    importer_row, target_row = _row(entry.importer), _row(entry.target)
    if importer_row is None or target_row is None or importer_row < target_row:
        return None  # a module without a row is told of once, by _unknown_rows
    return f"{where}, which is {'a sibling on its row' if importer_row == target_row else 'in a row above'}"


def _broken_in_folder(entry: Import, families: set[str], where: str) -> str | None:
    family = next((f for f in families if entry.importer.startswith(f + ".")), None)
    if family is None or entry.target == family:
        return None
    member = entry.target.removeprefix(family + ".").split(".")[0]
    own = entry.importer.removeprefix(family + ".").split(".")[0]
    if member == own or member.startswith("_"):
        return None
    return f"{where}: members of a family don't see each other. Move what they share to an underscore helper"


def _may_import_torch(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[: i + 1]) in MAY_IMPORT_TORCH for i in range(len(parts)))


def _unit(module: str) -> str:
    return [*module.split("."), ""][1]


def _row(module: str) -> int | None:
    if module == PACKAGE:  # the root holds the public names and stands above all
        return -1
    return next((row for row, names in enumerate(ROWS) if _unit(module) in names), None)


def _unknown_rows(modules: Mapping[str, Path]) -> list[str]:
    units = {_unit(name): path for name, path in modules.items() if _row(name) is None}
    return [
        f"{path}: '{unit}' has no row. Give it one in ROWS of tools/check_layers.py" for unit, path in units.items()
    ]


def _cycles(imports: Sequence[Import], modules: Mapping[str, Path]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for entry in imports:
        if entry.target in modules and entry.target != PACKAGE:
            graph.setdefault(entry.importer, set()).add(entry.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"modules import in a circle: {' <- '.join(error.args[1])}"]
    return []


def check_lengths(root: Path) -> list[str]:
    """Return one line per Python file that is too long."""
    files = [path for folder in CODE_FOLDERS for path in sorted((root / folder).rglob("*.py"))]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    return [f"{path}: {n} lines, but at most {MAX_LINES}. Split it" for path, n in lengths.items() if n > MAX_LINES]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
