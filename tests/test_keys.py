"""One key everywhere: a typed JAX key, one in numbers, or an int that stands for one."""

import inspect

import jax
import numpy as np
import pytest

import hlvm
from hlvm import datasets, demo, explore, images, mae, masking, mechanisms, scoring, simulator, study, testing, theory
from hlvm._keys import checked_key
from hlvm.graph import LatentGraph
from hlvm.mae.files import describe_run

PAIR = LatentGraph.from_edges([("z", "x")], dims=1)
TREE, GRID = LatentGraph.tree(2, 2), LatentGraph.quadtree(1)
MODEL = simulator.HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), mechanisms.LinearGaussian())
GRAMMAR = images.GrammarImages.init(
    jax.random.key(0), n_symbols=3, n_classes=3, n_synonyms=2, n_levels=1, patch_pixels=4, tuple_size=2
)
SCENES = images.SceneImages(size=16)
QUADTREE = images.QuadtreeImages.init(jax.random.key(0), height=1)
MEMBER = mae.Member(mask=masking.RandomMask(ratio=0.5), network=mae.LinearConfig(code_dim=1))
TRAIN = mae.TrainConfig(steps=1, batch=4, warmup=0)
MASKS = {
    "BernoulliMask": masking.BernoulliMask(ratio=0.5),
    "BlockMask": masking.BlockMask(ratio=0.5),
    "Chance": masking.BernoulliMask(ratio=0.5).law(GRID),
    "Counted": masking.RandomMask(ratio=0.5).law(GRID),
    "FixedMask": masking.FixedMask(masked=GRID.observed[:1]),
    "GridMask": masking.GridMask(keep_every=2),
    "LawfulMask": masking.RandomMask(ratio=0.5),
    "Listed": masking.BlockMask(ratio=0.5).law(GRID),
    "MaskList": masking.MaskList.of(GRID, np.eye(4, dtype=bool)),
    "RandomMask": masking.RandomMask(ratio=0.5),
    "RatioRange": masking.RatioRange(low=0.3, high=0.7),
    "SubtreeMask": masking.SubtreeMask(height=0, ratio=0.5),
}
LAWS = {
    "Bernoulli": mechanisms.Bernoulli(p=0.5),
    "Categorical": mechanisms.Categorical(n=3),
    "Gaussian": mechanisms.Gaussian(),
    "Laplace": mechanisms.Laplace(),
    "StudentT": mechanisms.StudentT(df=5.0),
    "Uniform": mechanisms.Uniform(),
}
FUNCTIONS = {
    "AdditiveNoiseMLP": mechanisms.AdditiveNoiseMLP(),
    "Coupling": mechanisms.Coupling(),
    "FunctionMechanism": mechanisms.mechanism_from_function(lambda p, e: p + e, init=lambda key, *_: {"key": key}),
    "Heteroscedastic": mechanisms.Heteroscedastic(),
    "InvertibleFunctionMechanism": mechanisms.mechanism_from_function(
        lambda p, e: p + e, invert=lambda x: x, init=lambda key, *_: {"key": key}
    ),
    "InvertibleMLP": mechanisms.InvertibleMLP(),
    "LinearGaussian": mechanisms.LinearGaussian(),
    "PostNonlinear": mechanisms.PostNonlinear(),
    "ProductionRules": next(
        iter(
            mechanisms.production_rules(LatentGraph.from_edges([("z", "x")], dims=1), vocabulary=3, synonyms=1)[
                0
            ].values()
        )
    ),
}


ORACLE = theory.GrammarOracle(GRAMMAR)
GAUSSIAN = theory.GaussianOracle(MODEL)
ONE_MASK = np.array([[True, False]])
SIZES = theory.GrammarSizes(n_symbols=4, n_classes=4, n_synonyms=2, n_levels=2, tuple_size=2)


class Tossed:
    """A strategy that is known by drawing only."""

    def sample(self, key, n, graph):
        return masking.RandomMask(ratio=0.5).sample(key, n, graph)


def model(key):
    return simulator.HierarchicalModel.init(key, TREE, mechanisms.LinearGaussian(), standardize=False).params


SAME = {
    "datasets.SampleStream": lambda key: datasets.SampleStream(MODEL, key, 2)[0],
    "demo.DemoConfig": lambda key: checked_key(demo.DemoConfig(key=key).key),
    "explore.explorer_page": lambda key: explore.explorer_page(MODEL, key=key, n_masks=2),
    "images.StringGrammar.derive": lambda key: GRAMMAR.derive(key, 2).cells,
    "images.StringGrammar.exchange_synonyms": lambda key: GRAMMAR.exchange_synonyms(key, GRAMMAR.derive(0, 3), 1).cells,
    "images.GrammarImages.init": lambda key: (
        images.GrammarImages.init(key, n_symbols=3, n_classes=3, n_synonyms=2, n_levels=1, patch_pixels=4).rules
    ),
    "images.GrammarImages.sample": lambda key: GRAMMAR.sample(key, 2).images,
    "images.QuadtreeImages.init": lambda key: images.QuadtreeImages.init(key, height=1).model.params,
    "images.QuadtreeImages.of_size": lambda key: images.QuadtreeImages.of_size(key, 8).model.key,
    "images.QuadtreeImages.sample": lambda key: QUADTREE.sample(key, 2).images,
    "images.SceneImages.noises": lambda key: SCENES.noises(key, 2),
    "images.SceneImages.sample": lambda key: SCENES.sample(key, 2).latents,
    "mae.files.describe_run": lambda key: describe_run(key, MODEL, [MEMBER], TRAIN),
    **{f"masking.{name}.sample": lambda key, of=of: of.sample(key, 3, GRID) for name, of in MASKS.items()},
    **{f"mechanisms.{name}.sample": lambda key, of=of: of.sample(key, (3,)) for name, of in LAWS.items()},
    **{f"mechanisms.{name}.init": lambda key, of=of: of.init(key, 1, 1, 2) for name, of in FUNCTIONS.items()},
    "mechanisms.check_mechanism": lambda key: (
        mechanisms.check_mechanism(
            mechanisms.LinearGaussian(), key, parent_dim=1, noise_dim=1, dim=1, samples=2
        ).noise_error
    ),
    "simulator.HierarchicalModel.counterfactual": lambda key: (
        MODEL.counterfactual(MODEL.sample(0, 2), {"x_0": mechanisms.LinearGaussian(snr=9.0)}, key=key).observed
    ),
    "simulator.HierarchicalModel.init": model,
    "simulator.HierarchicalModel.intervene": lambda key: (
        MODEL.intervene({"x_0": mechanisms.LinearGaussian(snr=9.0)}, key=key).params
    ),
    "simulator.HierarchicalModel.sample": lambda key: MODEL.sample(key, 2).observed,
    "theory.GaussianOracle.random_mask_autoencoder": lambda key: (
        GAUSSIAN.random_mask_autoencoder(Tossed(), 1, key=key, n_masks=4).losses
    ),
    "theory.GrammarOracle.best_accuracy": lambda key: ORACLE.best_accuracy(ONE_MASK[0], key=key),
    "theory.GrammarOracle.latent_r2": lambda key: ORACLE.latent_r2(ONE_MASK[0], key=key),
    "theory.GrammarOracle.latent_r2_batch": lambda key: ORACLE.latent_r2_batch(ONE_MASK, key=key).value,
    "theory.GrammarOracle.bayes_loss": lambda key: ORACLE.bayes_loss(ONE_MASK[0], key=key).mse,
    "theory.GrammarOracle.relative_loss_batch": lambda key: ORACLE.relative_loss_batch(ONE_MASK, key=key).value,
    "theory.GrammarOracle.information": lambda key: ORACLE.information(["z1_0_0"], ONE_MASK[0], key=key).value,
    "theory.GrammarOracle.sample": lambda key: ORACLE.sample(key, 4).cells,
    "theory.GrammarOracle.sample_posterior": lambda key: (
        ORACLE.sample_posterior(key, np.zeros((4, 2), int), ["x_0_0"]).cells
    ),
    "study.Study.batches": lambda key: STUDY.batches(key)[1].values,
    "study.Study.predict": lambda key: (
        study.Study(
            lambda of: simulator.HierarchicalModel.init(of, LatentGraph.tree(2, 1), mechanisms.LinearGaussian()),
            masks=[MEMBER.mask],
        )
        .predict(key)
        .quantities["value"]
        .dropna()
    ),
    "theory.density_evolution": lambda key: (
        theory.density_evolution(SIZES, masked_shares=0.5, population=8, n_populations=2, key=key).r2.value
    ),
    "theory.estimated_oracle": lambda key: (
        theory.estimated_oracle(MODEL, rows=60, key=key).latent_r2_batch(ONE_MASK).value
    ),
    "theory.advise": lambda key: theory.advise(MODEL, 1, [masking.RandomMask(ratio=0.5)], key=key, n_masks=2).table[
        "demand"
    ],
    "theory.mask_profile": lambda key: theory.mask_profile(
        MODEL, [masking.RandomMask(ratio=0.5)], ["demand"], key=key, n_masks=2
    ).table["value"],
    "theory.design_strategy": lambda key: [
        match.probability
        for match in theory.design_strategy(TREE, [TREE.latents[0]], key=key, n_masks=2, candidates=[Tossed()])
    ],
    "theory.frontier_probability": lambda key: theory.frontier_probability(GRID, Tossed(), key=key, n_masks=2),
    "theory.level_profile": lambda key: theory.level_profile(GRID, [Tossed()], key=key, n_masks=2).share,
    "theory.membership_probability": lambda key: theory.membership_probability(GRID, Tossed(), key=key, n_masks=2),
}
"""Functions that give the same for an int and its JAX key."""

FIT = mae.Fit(
    model=MODEL,
    mask=MEMBER.mask,
    network=MEMBER.network,
    train=TRAIN,
    seed=0,
    key=jax.random.key(0),
    params=jax.numpy.zeros(1),
    losses=np.zeros(0),
    diverged=False,
    shift=np.zeros(2),
    scale=np.ones(2),
)
COMPILED = {
    "mae.fit": lambda key: mae.fit(key, MODEL, MEMBER.mask, MEMBER.network, TRAIN).params,
    "mae.fit_ensemble": lambda key: mae.fit_ensemble(key, MODEL, [MEMBER], TRAIN)[0].params,
    "mae.plan_ensemble": lambda key: len(mae.plan_ensemble(key, MODEL, [MEMBER], TRAIN).programs),
    "mae.reconstruct": lambda key: mae.reconstruct(FIT, B, ["x_0"], key=key),
}
"""``describe_run`` stands for what these give."""


A, B = (np.random.default_rng(seed).normal(size=(20, 2)) for seed in (0, 1))
ROWS = scoring.kernel_r2(A, B, key=0)
BELIEF = np.exp(B) / np.exp(B).sum(axis=1, keepdims=True)
STUDY = study.Study(MODEL, masks=[MEMBER.mask], networks=MEMBER.network, train=TRAIN, seeds=2)

SCORES = {
    "study.Study.plan": lambda key: STUDY.plan(key),
    "study.Study.run": lambda key: STUDY.run(key),
    "scoring.belief_r2": lambda key: scoring.belief_r2(A, BELIEF, BELIEF.argmax(axis=1), key=key),
    "scoring.block_verdict": lambda key: scoring.block_verdict(A, B, key=key),
    "scoring.block_verdicts": lambda key: scoring.block_verdicts({"a": A}, {"a": B}, key=key),
    "scoring.bootstrap_mean": lambda key: scoring.bootstrap_mean(A[:, 0], key=key),
    "scoring.cca": lambda key: scoring.cca(A, B, key=key),
    "scoring.cca_many": lambda key: scoring.cca_many(A, {"b": B}, key=key),
    "scoring.cca_rank": lambda key: scoring.cca_rank(A, B, key=key, method="permutation", n_permutations=19),
    "scoring.containment_verdict": lambda key: scoring.containment_verdict(A, B, key=key),
    "scoring.controlled_r2": lambda key: scoring.controlled_r2(A, B, key=key, n_permutations=19),
    "scoring.dci": lambda key: scoring.dci(A, B, key=key),
    "scoring.kernel_r2": lambda key: scoring.kernel_r2(A, B, key=key),
    "scoring.kernel_r2_many": lambda key: scoring.kernel_r2_many(A, {"b": B}, key=key),
    "scoring.leakage": lambda key: scoring.leakage(A, A, B, key=key),
    "scoring.leakage_many": lambda key: scoring.leakage_many(A, A, {"b": B}, key=key),
    "scoring.linear_r2": lambda key: scoring.linear_r2(A, B, key=key),
    "scoring.linear_r2_many": lambda key: scoring.linear_r2_many(A, {"b": B}, key=key),
    "scoring.mlp_r2": lambda key: scoring.mlp_r2(A, B, key=key),
    "scoring.mutual_information": lambda key: scoring.mutual_information(A, B, key=key),
    "scoring.normalised_r2": lambda key: scoring.normalised_r2(ROWS, floor=ROWS, ceiling=ROWS, key=key),
    "scoring.paired_difference": lambda key: scoring.paired_difference(ROWS, ROWS, key=key),
    "scoring.permutation_null": lambda key: scoring.permutation_null(A, B, key=key, n_permutations=19),
    "scoring.permutation_test": lambda key: scoring.permutation_test(scoring.cka, A, B, key=key, n_permutations=19),
    "scoring.pwcca": lambda key: scoring.pwcca(A, B, key=key),
    "scoring.r2_over_seeds": lambda key: scoring.r2_over_seeds([ROWS, ROWS], key=key),
    "scoring.score_by_height": lambda key: scoring.score_by_height(
        {"code": A}, {"z": B[:, 0]}, heights={"z": 1}, key=key
    ),
    "scoring.score_layers": lambda key: scoring.score_layers({"l": A}, {"z": B}, key=key),
    "scoring.shape_distance": lambda key: scoring.shape_distance(A, B, key=key),
    "scoring.svcca": lambda key: scoring.svcca(A, B, key=key),
    "testing.assert_contains": lambda key: testing.assert_contains(A, A, key=key),
    "testing.assert_identified": lambda key: testing.assert_identified(A, A, key=key),
    "testing.assert_no_leakage": lambda key: testing.assert_no_leakage(A, A, B, key=key),
    "testing.assert_not_identified": lambda key: testing.assert_not_identified(A, B, key=key),
    "testing.assert_rank": lambda key: testing.assert_rank(A, A, 2, key=key, method="permutation", n_permutations=99),
    "testing.score_against_theory": lambda key: testing.score_against_theory(
        {"code": A}, {"z1_0": B[:, 0]}, LatentGraph.tree(2, 1), ["x_0"], of="noise", key=key
    ),
}
"""Scores draw from NumPy. An int seeds it by itself, so its streams are not those of the JAX key."""

WITHOUT = {"images.ImageModel.sample", "mae.Images.sample", "masking.MaskSampler.sample", "mechanisms.Mechanism.init"}
WITHOUT |= {
    "mechanisms.Noise.sample",
    "mechanisms.Polar.init",
    "mae.Fit",
    "datasets.write_dataset",
    "explore.write_explorer",
}
WITHOUT |= {
    f"theory.{of}.{name}"
    for of in ("Oracle", "GaussianOracle", "EstimatedOracle", "LinearisedOracle")
    for name in ("latent_r2_batch", "relative_loss_batch")
}
"""Written by users, who are given typed keys; or without a draw; or tested below."""

WORDS = r"key must be a typed JAX key such as jax.random.key\(0\), or a whole number from 0 to 4294967295, got "
NO_KEYS = {
    "batch": (jax.random.split(jax.random.key(0), 3), r"key must be a single key, got a batch of shape \(3,\)"),
    "float": (0.5, WORDS + "0.5"),
    "bool": (True, WORDS + "True"),
    "negative": (-1, WORDS + "-1"),
}


def callables_with_a_key():
    for module in sorted(set(hlvm.__all__) - {"__version__"}):
        if not inspect.ismodule(getattr(hlvm, module)):
            continue
        for name in getattr(getattr(hlvm, module), "__all__", ()):
            thing = getattr(getattr(hlvm, module), name)
            yield from _with_a_key(f"{module}.{name}", thing)
            if inspect.isclass(thing):
                for method in (m for m in vars(thing) if not m.startswith("_")):
                    yield from _with_a_key(f"{module}.{name}.{method}", getattr(thing, method))


def _with_a_key(name, thing):
    if callable(thing) and not (inspect.isclass(thing) and issubclass(thing, Warning | Exception)):
        try:
            parameters = inspect.signature(thing).parameters
        except ValueError:
            return
        if "key" in parameters:
            yield name


def test_table_has_every_public_function_with_a_key():
    named = {*SAME, *COMPILED, *SCORES, *WITHOUT}
    assert set(callables_with_a_key()) <= named


@pytest.mark.parametrize("name", SAME)
def test_key_as_int_and_as_jax_key_give_the_same(name):
    first, *others = (jax.tree.leaves(SAME[name](key)) for key in (3, jax.random.key(3), jax.random.PRNGKey(3)))
    for leaves in others:
        for leaf, same in zip(first, leaves, strict=True):
            np.testing.assert_array_equal(_numbers(leaf), _numbers(same))


def _numbers(leaf):
    is_key = isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


@pytest.mark.parametrize("name", {**SAME, **COMPILED, **SCORES})
def test_what_is_no_key_is_refused_in_the_same_words(name):
    for key, words in NO_KEYS.values():
        with pytest.raises(ValueError, match=words):
            {**SAME, **COMPILED, **SCORES}[name](key)


def test_runs_with_an_int_and_its_key_are_one_run():
    by_int, by_key, other = (
        describe_run(key, MODEL, [MEMBER], TRAIN) for key in (3, jax.random.key(3), jax.random.key(4))
    )
    assert by_int == by_key != other


def test_written_data_sets_with_an_int_and_its_key_are_the_same(tmp_path):
    first, second = (
        datasets.write_dataset(tmp_path / f"{i}.npz", QUADTREE, 2, key=key)
        for i, key in enumerate((3, jax.random.key(3)))
    )
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(ValueError, match="key must be a single key"):
        datasets.write_dataset(tmp_path / "c.npz", QUADTREE, 2, key=jax.random.split(jax.random.key(0)))
