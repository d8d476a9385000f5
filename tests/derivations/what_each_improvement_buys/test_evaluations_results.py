"""What an error of 0.01 nats costs: the search finds the cheapest setting, and what ships holds on other seeds."""

import numpy as np
import pytest

from benchmarks import evaluations_needed as script
from companion.entropy import partition
from companion.estimate.plan import DEFAULT, PUBLISHED
from companion.exact.mixtures import isotropic_mixture
from derivations.kit.measured import read

PARTS = ("digits", "mixtures", "network", "tricks")


def claims(part):
    for row in read(f"what_each_improvement_buys/{part}")["rows"]:
        beside = [row["published"]] if "published" in row else list(row["without"].values())
        yield from ((row["setting"], claim) for claim in (row["default"], *beside))


@pytest.mark.parametrize("part", PARTS)
def test_a_row_says_what_was_run(part):
    for _, claim in claims(part):
        assert claim["reached"] == (claim["rms"] <= script.TARGET)
        assert claim["runs"] >= 8
        assert 0.0 < claim["rms_se"] < claim["rms"]
        most = 200_000 if part == "network" else 2_000_000
        assert claim["reached"] or claim["evaluations"] > 0.9 * most


@pytest.fixture
def law(monkeypatch):
    """A rule's error is `bias` and chance that shrinks with the paths; the bias falls with the levels."""
    pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    setting = script.Setting("law", pair, partition(pair, [0], [1]), None)
    seen = []

    def error(setting, rule, paths, seed, luck=0.0):
        seen.append(seed)
        chance = np.random.default_rng(seed).standard_normal() if luck else 1.0
        return float(np.hypot(1.0 / rule.levels, 0.2 * (1.0 + luck * chance) / np.sqrt(paths))), 2 * paths * rule.levels

    monkeypatch.setattr(script, "worst_error", error)
    return setting, seen, error


def test_the_search_finds_the_cheapest_setting(law):
    """At n > 100 levels the target asks for 0.04 / (1e-4 - 1/n^2) paths, and 256 of the list cost least, 2 n paths."""
    setting, _, _ = law
    claim, spent = script.cheapest(setting, [script.Rule(PUBLISHED, "EDM", count) for count in script.GIVEN])
    paths = {count: 0.04 / (1e-4 - 1.0 / count**2) for count in script.GIVEN if count > 100}
    best = min(2 * count * paths[count] for count in paths)
    assert claim["reached"]
    assert best <= claim["evaluations"] <= script.STEP * best + 2 * claim["levels"]
    assert spent > setting.fresh * claim["evaluations"]


def test_what_is_not_reached_was_run_with_all_the_evaluations_allowed(law):
    setting, seen, _ = law
    claim, _ = script.cheapest(setting, [script.Rule(PUBLISHED, "EDM", count) for count in (16, 64)])
    assert not claim["reached"]
    assert claim["levels"] == 64
    assert 0.99 * setting.most < claim["evaluations"] <= setting.most
    assert seen[-setting.fresh :] == list(range(script.FRESH, script.FRESH + setting.fresh))


def test_a_lucky_search_is_paid_for_by_its_fresh_seeds(law, monkeypatch):
    """Chance of any size: the claim's own seeds were in no search, and their root mean square is what is stored."""
    setting, seen, error = law
    monkeypatch.setattr(script, "worst_error", lambda *run: error(*run, luck=0.5))
    claim, _ = script.cheapest(setting, [script.Rule(PUBLISHED, "EDM", 256)])
    fresh = seen[-setting.fresh :]
    assert len(set(fresh)) == setting.fresh
    assert min(fresh) >= script.FRESH > setting.searching
    rule = script.Rule(PUBLISHED, "EDM", 256)
    errors = [error(setting, rule, claim["paths"], seed, luck=0.5)[0] for seed in fresh]
    assert claim["rms"] == pytest.approx(float(np.sqrt(np.mean(np.square(errors)))), rel=1e-12)
    assert claim["rms"] <= script.TARGET


@pytest.mark.slow
@pytest.mark.parametrize("side", ["published", "default"])
def test_a_claim_holds_on_other_seeds(side):
    """As many runs of other seeds at three shipped settings; four standard errors of a difference: one in 10^4."""
    settings = [
        script.on_a_line(2, 16.0, "equal"),
        script.on_a_line(10, 16.0, "equal"),
        script.on_mixture("0.5 and 1, d = 1, 1 apart", script.UNEQUAL["0.5 and 1, d = 1, 1 apart"], [[0], [1]]),
    ]
    rows = {row["setting"]: row for row in read("what_each_improvement_buys/mixtures")["rows"]}
    for setting in settings:
        claim = rows[setting.name][side]
        rule = script.Rule(DEFAULT if side == "default" else PUBLISHED, claim["grid"], claim["levels"])
        again = script.tried_with(setting, rule, claim["paths"], range(10_000, 10_000 + claim["runs"]), whole=True)
        assert again.evaluations == claim["evaluations"]
        assert again.rms < claim["rms"] + 4.0 * np.sqrt(2.0) * claim["rms_se"]
