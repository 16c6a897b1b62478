"""The pruning transform: what it writes down, and what it refuses. The engine's own tests are in tests/prune."""

from __future__ import annotations

import pytest
from torch import nn

from flyweight.contracts import Candidate, Env, Preprocessing
from flyweight.errors import TransformError
from flyweight.transforms.prune_channels import PruneChannels


def candidate() -> Candidate:
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1))
    return Candidate(net.eval(), Preprocessing(8, 8))


def test_the_history_names_the_layers_that_lost_channels_and_how_they_were_chosen() -> None:
    change = PruneChannels(criterion="geometric_median").apply(candidate(), Env()).history[-1]
    assert set(change.layers) <= {"0", "2"}
    assert change.layers
    assert change.after.endswith("channels pruned, chosen by geometric_median")


@pytest.mark.parametrize(("settings", "word"), [({"macs": 1.5}, r"macs=1\.5"), ({"criterion": "taylor"}, "one of l1")])
def test_settings_out_of_range_are_refused(settings: dict[str, object], word: str) -> None:
    with pytest.raises(TransformError, match=word):
        PruneChannels(**settings)  # type: ignore[arg-type]


def test_a_network_of_one_layer_has_nothing_to_prune() -> None:
    with pytest.raises(TransformError, match="no channel of this network can be pruned"):
        PruneChannels().requires(Candidate(nn.Conv2d(3, 4, 3).eval(), Preprocessing(8, 8)))
