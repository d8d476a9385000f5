"""The shipped result of the chapter on guided information, and that the estimate is exact for exact scores."""

import numpy as np
import pytest
import torch

from benchmarks import guided_information_results as script
from derivations.guided_information.joint_gaussian import guided
from derivations.kit.joint_gaussian import random_joint
from derivations.kit.measured import read


@pytest.fixture(scope="module")
def measured():
    return read("guided_information/networks")


def test_networks_stop_where_the_exact_law_grows(measured):
    """From w = 4 to 7 by less than a tenth, at less than eight tenths of what a floor of a hundredth leaves."""
    found = measured["information"].mean(axis=2)  # (conditions, weights)
    assert measured["weights"].tolist() == [1.0, 2.0, 4.0, 7.0]
    assert np.all(np.abs(found[:, 3] / found[:, 2] - 1.0) < 0.1)
    assert np.all(np.diff(found[:, -1]) > 5.0)  # higher where the condition has more dimensions
    for conditions, row in zip(measured["conditions"], found, strict=True):
        joint = random_joint(25, int(conditions), 1.0, seed=0)
        strong = guided(joint, 7.0)
        assert row[0] == pytest.approx(joint.information(), rel=0.2)
        assert row[3] < 0.8 * strong.information(0.01) < 0.5 * strong.information()


def test_the_estimate_of_exact_scores_is_the_information():
    """Exact predictions in place of networks: what the law shares between the two ends, within its sampling error."""
    law = guided(random_joint(25, 5, 1.0, seed=0), 2.0)
    inner, outer, gain = (torch.from_numpy(part).float() for part in (law.within, law.marginal, law.gain))
    spread = torch.from_numpy(np.sqrt(np.diag(law.condition))).float()

    def noise(covariance, x, log_snr):
        alpha2, sigma2 = torch.sigmoid(log_snr[0]), torch.sigmoid(-log_snr[0])
        return sigma2.sqrt() * torch.linalg.solve(alpha2 * covariance + sigma2 * torch.eye(25), x.T).T

    def with_y(x, log_snr, y):
        return noise(inner, x - torch.sigmoid(log_snr[:1]).sqrt() * (y * spread) @ gain.T, log_snr)

    found = np.trapezoid(script.rates(law, with_y, lambda x, log_snr, y: noise(outer, x, log_snr), 0), script.LOG_SNR)
    ends = [law.information(float(np.exp(-0.5 * level))) for level in (script.LAST, script.FIRST)]
    assert found == pytest.approx(ends[0] - ends[1], rel=0.01)  # 80 thousand pairs, each of a few nats


def test_a_network_learns():
    """Two hundred steps on a law without guidance already halve the error of predicting nothing."""
    joint = random_joint(25, 5, 1.0, seed=0)
    network = script.trained(joint, True, 200, seed=3)
    log_snr = torch.zeros(2000)
    x, noise, y = script.noised(joint, 2000, log_snr, np.random.default_rng(0))
    assert (network(x, log_snr, y) - noise).square().mean().item() < 0.5
