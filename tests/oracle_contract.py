"""Tests that every oracle must pass: inherit from :class:`OracleContract`, give it oracles, and its tests run."""

import copy
import pickle
from typing import get_args

import numpy as np
import pytest

from hlvm.theory.oracles import How, Oracle


class OracleContract:
    """Tests that ask nothing of a model but the protocol of :class:`hlvm.theory.oracles.Oracle`.

    A subclass gives a fixture ``oracle`` (best with several small models, one of them a forest with at least two
    heights) and :meth:`relabelled`. If answers are drawn, it sets ``rows`` and ``key``, and :meth:`slack` allows for
    their errors. An oracle with a method ``information`` is asked for the chain rule too.

    Attributes:
        tolerance: absolute error of exact answers, 1e-9 unless a subclass says why it needs more.
        n_errors: standard errors by which drawn answers may miss.
        parts: the parts of latents that the oracle answers for.
        rows: draws per mask, where there are draws.
        key: of these draws.
    """

    tolerance = 1e-9
    n_errors = 5.0
    parts = ("value", "noise")
    rows = 1
    key = None

    @pytest.fixture
    def oracle(self):
        """One oracle of a small model, or several in turn."""
        raise NotImplementedError

    def relabelled(self, oracle, rng):
        """The same model with other names and another order of the observed variables.

        Returns:
            The other oracle; for each of its observed variables the place of the old one; for each latent likewise.
        """
        raise NotImplementedError

    def information(self, oracle, latents, visible, given=()):
        """``I(latents; visible | given)`` in bits; ``visible`` is a boolean array over the observed variables."""
        return oracle.information(latents, visible=visible, given=given)

    def slack(self, *answers):
        """By how much these answers may miss together."""
        return self.tolerance + self.n_errors * sum(np.nan_to_num(answer.error) for answer in answers)

    # ------------------------------------------------------------------ questions

    def r2(self, oracle, masks, visible=None, part="value"):
        return oracle.latent_r2_batch(masks, visible=visible, part=part, rows=self.rows, key=self.key)

    def loss(self, oracle, masks, visible=None):
        return oracle.relative_loss_batch(masks, visible=visible, rows=self.rows, key=self.key)

    def states(self, oracle, n=12, seed=0):
        """Targets and visible cells at random, a third each; first rows: nothing is seen, and all but one."""
        rng = np.random.default_rng(seed)
        state = rng.integers(0, 3, (n, len(oracle.graph.observed)))
        state[0] = 1
        state[1] = np.where(np.arange(state.shape[1]) == 0, 1, 2)
        return state == 1, state == 2

    def check_equal(self, one, other):
        assert one.value.shape == other.value.shape
        np.testing.assert_array_equal(np.isnan(one.value), np.isnan(other.value))
        assert (np.nan_to_num(np.abs(one.value - other.value)) <= self.slack(one, other)).all()

    def check_no_less(self, more, less):
        """No number of ``more`` is below that of ``less``."""
        np.testing.assert_array_equal(np.isnan(more.value), np.isnan(less.value))
        assert (np.nan_to_num(more.value - less.value) >= -self.slack(more, less)).all()

    # ------------------------------------------------------------------ tests

    def test_oracle_meets_the_protocol_and_says_how_it_knows(self, oracle):
        assert isinstance(oracle, Oracle)
        targets, visible = self.states(oracle)
        answers = [self.loss(oracle, targets, visible)]
        answers += [self.r2(oracle, targets, visible, part) for part in self.parts]
        for answer, n in zip(answers, [len(oracle.graph.observed)] + [len(oracle.graph.latents)] * 2, strict=False):
            assert answer.value.shape == answer.error.shape == (len(targets), n)
            assert answer.how in get_args(How)
            assert (answer.rows > 0) == (answer.how == "estimated")
            assert answer.how == "estimated" or not np.nan_to_num(answer.error).any()

    def test_answers_about_one_mask_say_how_they_are_known_too(self, oracle):
        targets, visible = (states[2] for states in self.states(oracle))
        many = oracle.latent_r2_batch(targets[None], visible=visible)
        one = oracle.latent_r2(targets, visible=visible)
        loss = oracle.bayes_loss(targets, visible=visible)
        told = oracle.information(oracle.graph.latents[:1], visible=visible)
        for answer in (one, loss, told, copy.deepcopy(one), pickle.loads(pickle.dumps(told))):
            assert (answer.how, answer.rows) == (many.how, many.rows) == (oracle.how, many.rows)
        np.testing.assert_array_equal(list(one.values()), many.value[0])
        np.testing.assert_array_equal(list(one.error.values()), many.error[0])
        assert told == told.value == float(told)

    def test_r2_and_loss_lie_within_their_bounds(self, oracle):
        targets, visible = self.states(oracle)
        loss = self.loss(oracle, targets, visible)
        np.testing.assert_array_equal(np.isnan(loss.value), ~targets)
        assert ((loss.value >= -self.slack(loss)) | ~targets).all()
        assert ((loss.value <= 1 + self.slack(loss)) | ~targets).all()
        for part in self.parts:
            r2 = self.r2(oracle, targets, visible, part)
            without = np.isnan(r2.value)
            assert (without == without[:1]).all()
            assert ((r2.value >= -self.slack(r2)) & (r2.value <= 1 + self.slack(r2)) | without).all()
            assert (r2.value[2:] > 10 * self.tolerance).any(), "nothing can be known: take another model"

    def test_nothing_is_known_where_nothing_is_seen(self, oracle):
        targets = np.ones((1, len(oracle.graph.observed)), dtype=bool)
        loss = self.loss(oracle, targets, ~targets)
        assert (np.abs(loss.value - 1) <= self.slack(loss)).all()
        for part in self.parts:
            r2 = self.r2(oracle, targets, ~targets, part)
            assert (np.abs(np.nan_to_num(r2.value)) <= self.slack(r2)).all()

    def test_what_is_no_target_is_visible_unless_said(self, oracle):
        targets, _ = self.states(oracle)
        self.check_equal(self.loss(oracle, targets), self.loss(oracle, targets, ~targets))
        self.check_equal(self.r2(oracle, targets), self.r2(oracle, targets, ~targets))

    def test_more_that_is_visible_tells_no_less(self, oracle):
        n = len(oracle.graph.observed)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(n)
            targets = np.zeros((n, n), dtype=bool)
            targets[:, order[-1]] = True
            visible = np.zeros_like(targets)
            for row in range(n):
                visible[row, order[:row]] = True
            loss = self.loss(oracle, targets, visible)
            self.check_no_less(_rows(loss, slice(0, -1)), _rows(loss, slice(1, None)))
            for part in self.parts:
                r2 = self.r2(oracle, targets, visible, part)
                self.check_no_less(_rows(r2, slice(1, None)), _rows(r2, slice(0, -1)))

    def test_absent_cells_change_nothing(self, oracle):
        """An answer does not depend on what else is asked for among the cells that are not seen."""
        targets, visible = self.states(oracle)
        more = ~visible
        few, all_of_them = self.loss(oracle, targets, visible), self.loss(oracle, more, visible)
        all_of_them.value[~targets] = np.nan
        self.check_equal(few, all_of_them)
        for part in self.parts:
            few, all_of_them = (self.r2(oracle, asked, visible, part) for asked in (targets, more))
            self.check_equal(few, all_of_them)

    def test_masks_do_not_disturb_each_other(self, oracle):
        targets, visible = self.states(oracle)
        rows = [0, 5, 1, 5, 3]  # one of them twice
        together = self.loss(oracle, targets[rows], visible[rows]), self.r2(oracle, targets[rows], visible[rows])
        for place, row in enumerate(rows):
            alone = [ask(oracle, targets[[row]], visible[row]) for ask in (self.loss, self.r2)]
            for one, many in zip(alone, together, strict=True):
                self.check_equal(one, _rows(many, slice(place, place + 1)))

    def test_cut_at_the_top_changes_nothing(self, oracle):
        targets, visible = self.states(oracle)
        if not oracle.graph.arrays.is_forest:
            with pytest.raises(ValueError, match="forest"):
                oracle.cut(1)
            return
        for height in (max(oracle.graph.heights), max(oracle.graph.heights) + 1):
            other = oracle.cut(height)
            assert other.graph == oracle.graph
            self.check_equal(self.loss(oracle, targets, visible), self.loss(other, targets, visible))
            self.check_equal(self.r2(oracle, targets, visible), self.r2(other, targets, visible))

    def test_lower_cuts_lose_no_less(self, oracle):
        if not oracle.graph.arrays.is_forest:
            return
        targets, visible = self.states(oracle)
        before = self.loss(oracle, targets, visible)
        for height in range(max(oracle.graph.heights) - 1, -1, -1):
            other = oracle.cut(height)
            assert isinstance(other, Oracle)
            after = self.loss(other, targets, visible)
            self.check_no_less(after, before)
            before = after
        assert (np.abs(before.value - 1) <= self.slack(before))[targets].all()

    def test_cut_keeps_the_graph_and_tells_nothing_of_latents_above(self, oracle):
        if not oracle.graph.arrays.is_forest:
            return
        targets, visible = self.states(oracle)
        heights = np.asarray(oracle.graph.heights)[: oracle.graph.n_latents]
        whole = {part: self.r2(oracle, targets, visible, part) for part in self.parts}
        for height in range(max(oracle.graph.heights)):
            other = oracle.cut(height)
            assert other.graph == oracle.graph
            is_new = np.array([any(heights[p] > height for p in above) for above in oracle.graph.parent_indices])
            is_new = is_new[: len(heights)] & (heights <= height)
            for part in self.parts:
                found, before = self.r2(other, targets, visible, part), whole[part]
                without = np.where(is_new, np.isnan(whole["value"].value), np.isnan(before.value))
                np.testing.assert_array_equal(np.isnan(found.value), without)
                missed = (np.abs(np.nan_to_num(found.value)) <= self.slack(found)) | (heights <= height)
                assert missed.all()
                kept = np.flatnonzero(~is_new if part == "noise" else heights <= height)
                self.check_no_less(_columns(before, kept), _columns(found, kept))
                assert height == 0 or (found.value[2:, heights == height] > 10 * self.tolerance).any()

    def test_information_follows_the_chain_rule(self, oracle):
        if not hasattr(oracle, "information"):
            return
        latents = list(oracle.graph.latents)
        rng = np.random.default_rng(1)
        _, several = self.states(oracle, 6)
        for visible in several:
            first = [name for name in latents if rng.random() < 0.5]
            second = [name for name in latents if name not in first and rng.random() < 0.7]
            parts = [
                self.information(oracle, first, visible),
                self.information(oracle, second, visible, first),
            ]
            whole = self.information(oracle, [*second, *first], visible)
            assert min(parts) >= 0
            assert whole == sum(parts) or abs(whole - sum(parts)) <= max(10 * self.tolerance, 1e-9 * abs(whole))
            fewer = visible & (rng.random(len(visible)) < 0.5)
            assert self.information(oracle, latents, fewer) <= self.information(oracle, latents, visible) + 1e-9
        assert self.information(oracle, latents, np.zeros_like(several[0])) == 0
        assert self.information(oracle, latents, ~np.zeros_like(several[0])) > 0

    def test_answers_do_not_depend_on_labels(self, oracle):
        other, observed, latents = self.relabelled(oracle, np.random.default_rng(2))
        observed, latents = np.asarray(observed), np.asarray(latents)
        assert set(other.graph.nodes).isdisjoint(oracle.graph.nodes)
        assert not np.array_equal(observed, np.arange(len(observed)))
        targets, visible = self.states(oracle)
        there = targets[:, observed], visible[:, observed]
        self.check_equal(_columns(self.loss(oracle, targets, visible), observed), self.loss(other, *there))
        for part in self.parts:
            here = self.r2(oracle, targets, visible, part)
            self.check_equal(_columns(here, latents), self.r2(other, *there, part))

    def test_bad_masks_are_refused(self, oracle):
        targets, visible = self.states(oracle)
        for ask in (oracle.latent_r2_batch, oracle.relative_loss_batch):
            with pytest.raises(ValueError, match="masked and visible at once"):
                ask(targets, visible=targets)
            with pytest.raises(ValueError, match="must be booleans of shape"):
                ask(targets[:, 1:])
            with pytest.raises(ValueError, match="must be booleans of shape"):
                ask(targets.astype(int))
            with pytest.raises(ValueError, match="visible must have one row, or 12"):
                ask(targets, visible=visible[:2])
        if oracle.graph.arrays.is_forest:
            with pytest.raises(ValueError, match="height must be a whole number of at least 0"):
                oracle.cut(-1)


def _rows(answers, rows):
    return type(answers)(value=answers.value[rows], error=answers.error[rows], how=answers.how, rows=answers.rows)


def _columns(answers, columns):
    return type(answers)(
        value=answers.value[:, columns], error=answers.error[:, columns], how=answers.how, rows=answers.rows
    )
