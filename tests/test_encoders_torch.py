"""Modules of PyTorch as encoders; run where PyTorch is installed."""

import copy

import numpy as np
import pytest

from hlvm import HierarchicalModel, LatentGraph
from hlvm._numbers import UsageError
from hlvm.encoders import wrap
from hlvm.mae import LinearConfig, TrainConfig
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.study import ScoreConfig, Study
from hlvm.study.measuring import Session

torch = pytest.importorskip("torch")

ROWS = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)
    )


class WithToken(torch.nn.Module):
    """Has a parameter of its own, which no reset_parameters sets."""

    def __init__(self):
        super().__init__()
        self.token = torch.nn.Parameter(torch.ones(2))
        self.linear = torch.nn.Linear(5, 2)

    def encode(self, rows):
        return self.linear(rows) + self.token

    def forward(self, rows):
        raise AssertionError("encode comes first")


class WithRule(WithToken):
    """The same with a rule."""

    def reset_parameters(self):
        torch.nn.init.normal_(self.token)


def test_wrap_calls_a_module_in_evaluation_mode_and_leaves_its_modes():
    module = network()
    module[2].eval()
    modes = [part.training for part in module.modules()]
    codes = wrap(module)(ROWS)
    assert [part.training for part in module.modules()] == modes
    with torch.no_grad():
        by_hand = module.eval()(torch.tensor(ROWS)).numpy()
    np.testing.assert_allclose(codes, by_hand, rtol=1e-5, atol=1e-6)
    assert wrap(module).kind == "torch"


def test_wrap_restores_modes_after_a_failure():
    module = network().train()
    with pytest.raises(UsageError, match=r"encoder 'Sequential' fails on inputs of shape \(2, 3\): RuntimeError"):
        wrap(module)(ROWS[:, :3])
    assert module.training


def test_wrap_calls_encode_with_tensors_in_the_precision_of_the_module():
    module = WithToken().double()
    np.testing.assert_allclose(
        wrap(module)(ROWS), module.encode(torch.tensor(ROWS, dtype=torch.float64)).detach().numpy(), rtol=1e-6
    )


def test_wrap_gives_a_module_its_mask_as_a_tensor():
    class Masked(torch.nn.Module):
        def forward(self, rows, masked):
            assert masked.dtype == torch.bool
            return rows * ~masked

    masked = ROWS > 0
    np.testing.assert_array_equal(wrap(Masked(), mask=object())(ROWS, masked), np.where(masked, 0, ROWS))


def test_reinitialised_module_is_new_repeatable_and_leaves_the_random_state():
    module = network()
    before, state = copy.deepcopy(module.state_dict()), torch.random.get_rng_state()
    encoder = wrap(module)
    first, again, other = (encoder.reinitialised(seed)(ROWS) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert np.abs(first - encoder(ROWS)).max() > 0.01
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert encoder.floor == "before training"


def test_reinitialised_module_draws_as_pytorch_does():
    encoder = wrap(torch.nn.Linear(5, 2))
    torch.manual_seed(4)
    fresh = torch.nn.Linear(5, 2)
    np.testing.assert_allclose(encoder.reinitialised(4)(ROWS), fresh(torch.tensor(ROWS)).detach().numpy(), rtol=1e-5)


def test_reinitialised_module_covers_attention():
    layer = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    assert wrap(torch.nn.Sequential(torch.nn.Linear(5, 4), layer)).floor == "before training"


def test_reinitialised_refuses_parameters_that_are_not_reset():
    encoder = wrap(WithToken(), name="mine")
    assert "token is set by no reset_parameters" in encoder.floor
    with pytest.raises(UsageError, match=r"cannot be re-initialised: token is set by no .* or give floor= to wrap"):
        encoder.reinitialised(0)
    assert wrap(WithRule()).floor == "before training"
    assert wrap(WithToken(), floor=WithToken()).floor == "before training"


def test_floor_of_a_module_with_a_rule_that_fails_is_missing():
    module = torch.nn.Linear(5, 2)
    assert wrap(module).floor == "before training"
    module.reset_parameters = lambda gain: None  # a rule that wants an argument
    assert "it cannot be re-initialised (TypeError: " in wrap(module).floor
    assert wrap(module)(ROWS).shape == (40, 2)


def test_wrap_refuses_modules_on_several_devices_or_on_none():
    module = network()
    module[0].to("meta")
    with pytest.raises(
        UsageError, match=r"encoder 'Sequential' has parameters on cpu and meta: move all to one device"
    ):
        wrap(module)
    with pytest.raises(UsageError, match="has its parameters on the device meta"):
        wrap(network().to("meta"))


def test_encoder_says_that_a_tensor_is_on_another_device():
    with pytest.raises(UsageError, match=r"encoder 'mine' gives a tensor on the device meta, .* for inputs of shape"):
        wrap(lambda rows: torch.zeros(len(rows), 2, device="meta"), name="mine")(ROWS)
    linear = torch.nn.Linear(5, 2)
    with pytest.raises(UsageError, match=r"encoder 'mine' fails on inputs of shape \(2, 5\)"):
        wrap(lambda rows: linear(torch.tensor(rows, device="meta")) + linear(torch.tensor(rows)), name="mine")(ROWS)


def test_encoder_takes_tensors_that_need_gradients():
    linear = torch.nn.Linear(5, 2)
    assert wrap(lambda rows: linear(torch.tensor(rows)))(ROWS).shape == (40, 2)


# ---------------------------------------------------------------------- in a study


def test_study_scores_modules_per_seed_above_their_own_floors():
    """Each seed's module is trained on the batches of that seed; its floor has new parameters of that seed."""
    study = Study(
        HierarchicalModel.init(0, LatentGraph.quadtree(1), LinearGaussian()),
        masks=[RandomMask(ratio=0.5)],
        networks=LinearConfig(code_dim=1),
        train=TrainConfig(steps=60, batch=64, warmup=2),
        seeds=2,
        score=ScoreConfig(rows=400, parts=("noise",)),
    )

    def train(batches):
        torch.manual_seed(batches.seed)
        model = torch.nn.Sequential(torch.nn.Linear(12, 1), torch.nn.Linear(1, 12))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for values, masked in batches.torch():
            hidden = batches.hidden(masked).float()
            loss = ((model(values * (1 - hidden)) - values) ** 2 * hidden).sum() / hidden.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model[0]

    models = [train(study.batches(0, seed=seed)) for seed in range(2)]
    found = study.run(0, encoders={"list": models, "trained": wrap(train, fit=True, mask=study.masks[0])})
    rows = found.records.set_index(["arm", "seed"])
    for seed, model in enumerate(models):
        assert rows.loc[("trained", seed), "value"] == pytest.approx(rows.loc[("list", seed), "value"], abs=1e-4)
        session = Session(study, 0)
        stream, truth = session.stream(0), session.material(0).truth
        fresh = wrap(model).reinitialised(seed)((truth.inputs - np.asarray(stream.shift)) / np.asarray(stream.scale))
        by_hand = session.scorer(0).scores(fresh, chance=False)[0]
        assert rows.loc[("list", seed), "floor"] == pytest.approx(by_hand[0], abs=1e-4)
    assert rows.loc["list", "floor"].nunique() == 2
    assert [(one["kind"], one["floor"]) for one in found.encoders] == [("torch", "before training")] * 2
