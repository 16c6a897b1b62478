"""One classifier of every family learns: a short run on patches of real pictures, clearly better than chance."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from flyweight.contracts import DataSet, Preprocessing
from flyweight.data import load_dataset
from flyweight.evaluate import evaluate, torch_predict
from flyweight.saved import fresh_candidate
from flyweight.testing._zoo_runs import slim
from flyweight.testing.zoo import _enough_pixels
from flyweight.train import Recipe, train
from flyweight.zoo import ZOO, ZooEntry

CLEARLY_BETTER = 0.6  # of 174 patches, of three classes; by chance that happens less often than once in 10^12
NORMED = Recipe(steps=80, batch=16, learning_rate=5e-3, warmup_steps=10, flips="both")
LONGER = replace(NORMED, steps=160)
MANY_NORMS = ("mobileone",)  # five branches a layer, each with a norm: their statistics take longer to settle
PLAIN = replace(NORMED, steps=160, learning_rate=3e-4)  # networks without norms stand only small steps


def smallest_of_each_file() -> dict[str, ZooEntry]:
    """Return per zoo file the classifier with fewest MACs; forms for deployment, without norms, are not trained."""
    found: dict[str, ZooEntry] = {}
    for name, origin in ZOO.origins.items():
        file, entry = origin.rpartition(".")[2], ZOO.members[name]
        known = found.get(file)
        cost = entry.macs or float("inf")
        if name.endswith("_deploy") or entry.spec.task != "classify":
            continue
        if known is None or cost < (known.macs or float("inf")):
            found[file] = entry
    return found


@pytest.fixture(scope="module")
def patches() -> DataSet:
    return load_dataset("blue_marble_coasts")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("entry", [pytest.param(entry, id=file) for file, entry in smallest_of_each_file().items()])
def test_one_of_each_family_learns_clearly_more_than_chance(entry: ZooEntry, patches: DataSet) -> None:
    pixels = _enough_pixels(entry.spec)
    spec = slim(entry.spec) if entry.spec.head.kind == "mlp_classifier" else entry.spec  # 138 million weights in VGG
    spec = spec.replace(classes=3, input=replace(entry.spec.input, height=pixels, width=pixels), norm_momentum=0.1)
    candidate = fresh_candidate(spec, Preprocessing(pixels, pixels, patches.mean, patches.std), 0)
    normed = any(isinstance(layer, torch.nn.BatchNorm2d) for layer in candidate.module.modules())
    recipe = LONGER if entry.spec.name.startswith(MANY_NORMS) else NORMED if normed else PLAIN
    trained = train(candidate, patches, recipe).candidate
    metrics = evaluate(torch_predict(trained.module), patches.test, patches, trained.preprocessing)
    assert metrics.top1 >= CLEARLY_BETTER
