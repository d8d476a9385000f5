"""The estimator of continuous pairs against closed forms, invariances and independence, and the benchmark's rows."""

import json
import sys

import numpy as np
import pytest

from benchmarks import information_benchmark as benchmark
from companion import InputError
from derivations.information_within_its_bound.pairs import canonical, gaussian_margins, mutual_information


def gaussian(count, rho, seed):
    """Pairs in as many dimensions as rho has, each coordinate of x correlated with its own of y, then both mixed."""
    draw = np.random.default_rng(seed)
    x, noise = draw.standard_normal((2, count, len(rho)))
    return x, rho * x + np.sqrt(1.0 - np.square(rho)) * noise


def test_the_linear_part_of_a_gaussian_pair_is_its_information():
    # Samples made to have exactly the covariance of the law: the linear part is then the closed form to rounding.
    x, y = gaussian(400, np.array([0.9, 0.5, 0.0]), 0)
    joint = np.hstack([x, y]) - np.hstack([x, y]).mean(axis=0)
    joint = joint @ np.linalg.inv(np.linalg.cholesky(joint.T @ joint / 400).T)
    mixed = np.random.default_rng(1).standard_normal((6, 6))
    covariance = mixed @ mixed.T
    joint = joint @ np.linalg.cholesky(covariance).T
    parts = [np.linalg.slogdet(block)[1] for block in (covariance[:3, :3], covariance[3:, 3:], covariance)]
    assert canonical(joint[:, :3], joint[:, 3:]).linear == pytest.approx(
        0.5 * (parts[0] + parts[1] - parts[2]), abs=1e-6
    )


def test_the_excess_of_the_plug_in_is_taken_off():
    # Mean over 400 draws of 60 Gaussian pairs in 3 and 2 dimensions, within four of its standard errors; without the
    # correction it is off by 0.05, over ten of them.
    rho = np.array([0.8, 0.3])
    found = []
    for seed in range(400):
        x, y = gaussian(60, rho, seed)
        pair = canonical(np.hstack([x, np.random.default_rng(seed + 999).standard_normal((60, 1))]), y)
        found.append((pair.linear - pair.excess, pair.linear))
    values, plug_in = np.array(found).T
    truth, error = -0.5 * np.log1p(-(rho**2)).sum(), values.std() / 20
    assert abs(values.mean() - truth) < 4 * error
    assert plug_in.mean() - truth > 8 * error


@pytest.mark.parametrize("steps", [0, 60])
def test_a_joint_gaussian_within_its_standard_error(steps):
    # Untrained networks add nothing; trained ones have nothing to add. Four standard errors: a false alarm in 16000.
    rho = np.array([0.9, 0.6, 0.0])
    found = mutual_information(*gaussian(3000, rho, 3), steps=steps)
    assert abs(found.information + 0.5 * np.log1p(-(rho**2)).sum()) < 4 * found.standard_error
    if steps == 0:
        assert found.with_y == found.without == 0.0


def test_increasing_maps_of_the_columns_change_nothing():
    x, y = gaussian(600, np.array([0.8, 0.4]), 4)
    plain = mutual_information(x, y, steps=15)
    bent = mutual_information(np.sinh(2.0 * x) + 3.0, np.column_stack([np.exp(y[:, 0]), np.cbrt(y[:, 1])]), steps=15)
    assert (plain.information, plain.standard_error) == (bent.information, bent.standard_error)


def test_the_pair_may_be_exchanged():
    x, y = gaussian(600, np.array([0.8, 0.4]), 5)
    x = np.hstack([x, np.random.default_rng(0).standard_normal((600, 1))])
    one, other = mutual_information(x, y, steps=0), mutual_information(y, x, steps=0)
    assert one.information == pytest.approx(other.information, abs=1e-10)


def test_independent_vectors_have_none():
    draw = np.random.default_rng(6)
    found = mutual_information(draw.standard_t(2, (3000, 2)), draw.uniform(size=(3000, 2)), steps=60)
    assert abs(found.information) < 4 * found.standard_error


def test_what_x_knows_of_itself_is_no_information_on_y():
    # The coordinates of x hang together in a way that no covariance shows, and y is independent of x. Both networks
    # gain, and err alike: after so few steps they differ by a thirtieth of the gain, for which the test allows a tenth.
    draw = np.random.default_rng(8)
    first = draw.standard_normal((3000, 1))
    x = np.hstack([first, np.abs(first) + 0.2 * draw.standard_normal((3000, 1))])
    found = mutual_information(x, draw.standard_normal((3000, 2)), steps=150)
    assert found.without > 0.1
    assert abs(found.information) < 0.1 * found.without


def test_a_network_finds_what_the_covariance_does_not_show():
    # y = |x| + noise is uncorrelated with x: the linear part is 0 within its error. The truth, h(y) - h(noise), by
    # quadrature, is 0.94; a network's gain on pairs that it has not seen is a lower bound, up to four standard errors.
    draw = np.random.default_rng(7)
    x = draw.standard_normal((3000, 1))
    y = np.abs(x) + 0.2 * draw.standard_normal((3000, 1))
    grid = np.linspace(-1.5, 7.0, 4001)
    at = np.linspace(0.0, 6.0, 2001)
    density = np.trapezoid(
        2.0 * np.exp(-0.5 * at**2 - 0.5 * ((grid[:, None] - at) / 0.2) ** 2) / (2.0 * np.pi * 0.2), at, axis=1
    )
    truth = -np.trapezoid(density * np.log(density + 1e-300), grid) - 0.5 * np.log(2.0 * np.pi * np.e * 0.04)
    found = mutual_information(x, y, steps=250)
    assert abs(found.linear) < 0.01
    assert 0.5 * truth < found.information < truth + 4 * found.standard_error


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.zeros(200), np.zeros((200, 1)), "an array"),
        (np.arange(50.0)[:, None], np.arange(50.0)[:, None], "at least 100"),
        (np.arange(200.0)[:, None], np.zeros((200, 1)), "columns that vary"),
        (np.arange(200.0)[:, None], np.full((200, 1), np.nan), "finite numbers"),
        (np.arange(200.0)[:, None], np.arange(300.0)[:, None], "200 rows"),
    ],
)
def test_bad_pairs_are_one_line(x, y, said):
    with pytest.raises(InputError, match=said) as refused:
        mutual_information(x, y)
    assert "\n" not in str(refused.value)


def test_ranks_are_normal_scores():
    scores = gaussian_margins(np.array([[3.0], [1.0], [2.0]]))
    assert scores[1, 0] == -scores[0, 0] < 0.0 == scores[2, 0]


class Stand:
    """Answers for the peers' process, and breaks off after so many estimates."""

    def __init__(self, folder, breaks_after):
        self.folder, self.left, self.asked = folder, breaks_after, []

    def ask(self, **job):
        if job["do"] == "sample":
            x, y = gaussian(200, np.array([0.5]), job["seed"])
            np.savez(job["samples"], x=x, y=y)
            return {"truth": 0.14}
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked.append((job["estimator"], job["seed"]))
        return {"estimate": 0.1 + job["seed"], "fit_seconds": 1.0, "seconds": 1.0}


def test_a_benchmark_that_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "TASKS", ("a", "b"))
    monkeypatch.setattr(benchmark, "SEEDS", {benchmark.OURS: 2, "KSG": 2})
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path)
    (tmp_path / "information_within_its_bound" / "results").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["", "--folder", str(tmp_path / "run"), "--seconds", "0.05"])
    stands = iter([Stand(tmp_path / "run", 3), Stand(tmp_path / "run", 9), Stand(tmp_path / "run", 0)])
    used = []
    monkeypatch.setattr(benchmark, "Peers", lambda folder: used.append(next(stands)) or used[-1])
    with pytest.raises(KeyboardInterrupt):
        benchmark.main()
    made = tmp_path / "information_within_its_bound" / "results" / "peers.json"
    first = json.loads(made.read_text())["estimates"]
    assert first["KSG"] == [[0.1, 1.1], [0.1, None]]
    benchmark.main()
    whole = made.read_text()
    assert used[0].asked + used[1].asked == [("KSG", 0)] * 2 + [("KSG", 1)] * 2  # none twice
    assert json.loads(whole)["estimates"][benchmark.OURS] == first[benchmark.OURS]
    made.unlink()
    benchmark.main()  # every row is there, and nothing is asked
    assert used[2].asked == [] and made.read_text() == whole
