"""A new strategy is a class with a law and a line in the table of names; theory, training, files, commands take it."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from hlvm import cli, mae
from hlvm.cli.settings import settings_from_dict
from hlvm.graph import LatentGraph
from hlvm.mae.training.groups import group_members
from hlvm.masking import Counted, LawfulMask, Patches, RandomMask, count_masked, mask_from_dict, mask_to_dict
from hlvm.masking.descriptions import STRATEGIES
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import design_strategy, level_profile, membership_probability

GRAPH = LatentGraph.quadtree(2)
SHORT = mae.TrainConfig(steps=2, batch=8, warmup=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowMask(LawfulMask):
    """Show a share of the patches, chosen uniformly at random, and mask the rest."""

    ratio: float
    unit: int | tuple[int, int] = 1

    def law(self, graph):
        patches = Patches.blocks(graph, self.unit)
        n_masked = len(patches) - count_masked(self.ratio, len(patches))
        return Counted(patches=patches, fewest=n_masked, most=n_masked)


NEW, SAME = ShowMask(ratio=0.25), RandomMask(ratio=0.75)
"""The second draws the same masks, and is known everywhere."""


@pytest.fixture(autouse=True)
def in_the_table(monkeypatch):
    monkeypatch.setitem(STRATEGIES, "show", ShowMask)


def test_new_strategy_has_closed_forms():
    assert membership_probability(GRAPH, NEW) == membership_probability(GRAPH, SAME)
    found, same = level_profile(GRAPH, [NEW, SAME]), level_profile(GRAPH, [SAME])
    assert found.n_masks == 0
    np.testing.assert_array_equal(found.share, np.repeat(same.share, 2, axis=0))
    one, other = design_strategy(GRAPH, ["z2_0_0"], candidates=[NEW, SAME])
    assert (one.strategy, one.exact, one.description) == (NEW, True, "12 of 16 cells at random")
    assert one.log_probability == other.log_probability


def test_new_strategy_draws_by_its_law():
    key = jax.random.key(0)
    np.testing.assert_array_equal(NEW.sample(key, 20, GRAPH), SAME.sample(key, 20, GRAPH))


def test_new_strategy_is_written_and_read():
    written = json.loads(json.dumps(mask_to_dict(NEW)))
    assert written == {"kind": "show", "ratio": 0.25, "unit": 1}
    assert mask_from_dict(written) == NEW
    settings = settings_from_dict({"network": {"kind": "linear", "code_dim": 2}, "mask": written})
    assert settings.members[0].mask == NEW


def test_new_strategy_trains_in_the_program_of_the_others(tmp_path):
    model = HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())
    members = [mae.Member(mask=mask, network=mae.LinearConfig(code_dim=2)) for mask in (NEW, SAME)]
    assert len(group_members(GRAPH, members, SHORT)) == 1
    new, same = mae.fit_ensemble(jax.random.key(1), model, members, SHORT)
    np.testing.assert_array_equal(new.losses, same.losses)
    mae.save_fits(tmp_path / "fits", [new])
    assert mae.load_fits(tmp_path / "fits")[0].mask == NEW


def test_new_strategy_is_on_the_command_line(tmp_path, capsys):
    GRAPH.save(tmp_path / "graph.json")
    assert cli.main(["theory", str(tmp_path / "graph.json"), "--strategy", "show", "--ratio", "0.25", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["strategy"], record["n_masks"]) == ("show", 0)
    (profile,) = record["profiles"]
    found = {row["latent"]: row["probability"] for row in profile["membership"]}
    assert found == membership_probability(GRAPH, SAME)
