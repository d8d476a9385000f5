"""What functions of the theory can be given wrongly: one InputError that names it, and never a warning."""

import math

import numpy as np
import pytest
import torch

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.estimate.held_out import calibration
from companion.exact import equidistant, gaussian_pairs, laws, two_gaussians
from companion.exact.affinity import LINE, entropy_on_line, production_on_line
from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import full_mixture, isotropic_mixture
from companion.forward import (
    cosine,
    edm_levels,
    linear,
    log_snr_levels,
    ornstein_uhlenbeck,
    scaled_linear,
    time_levels,
)
from derivations.forward_processes_are_clocks import simulation
from derivations.gaussian_mixtures import bounds
from derivations.general_classes import decision_times, isotropic_pairs, parity_classes
from derivations.kit import (
    independent_productions,
    landmarks,
    power_laws,
    reverse_paths,
    shared_covariance,
    speciation,
)
from derivations.pathwise_entropy import pathwise
from derivations.the_entropy_production_identity import (
    absorbing_boundary,
    entropy_fields,
    fokker_planck,
    one_dimension,
)
from derivations.the_entropy_rate_five_ways import entropy_rate
from derivations.vp_against_ve import scaling

NAN, INF = math.nan, math.inf
NO_NUMBERS = (NAN, [1.0, NAN], "many", None, [1.0, [2.0]], 1j)  # for an argument of any shape
NOT_ONE = (*NO_NUMBERS, [], [0.5, 0.5])  # for a single number
NOT_WHOLE = (*NOT_ONE, 2.5, 0, -3, INF, 10**400)
NO_MATRIX = ("many", None, 3.0, [], [[]], [[0, 1], [1]], [[NAN, 1], [1, NAN]], [[0, -1], [-1, 0]], [[0, 1], [2, 0]])
NO_WEIGHTS = ("ab", None, 0.5, [], [0.5], [0.5, 0.6], [1.5, -0.5], [NAN, 0.5], [0.0, 1.0], [0.5, [0.5]], [[0.5, 0.5]])

RATE = (*NOT_ONE, 0.0, -1.0, INF)  # for a positive number

OU = ornstein_uhlenbeck()
PAIR = gaussian_pairs.gaussian_pair([1.5, 2.0], [0.5, 0.1], [0.3, 1.2])
SIGNS = parity_classes.sign_pair(12, 3)
POINTS = isotropic_mixture([[-1.0], [1.0]], 0.3)
GENERATOR = torch.Generator()
NO_GROUPS = ([], [[0]], [[0], [0]], [[0], []], [[0], [5]], [[0], [-1]], [0, 1], 3)
TIME = (*NO_NUMBERS, -1.0)
POSITIVE = (*NO_NUMBERS, 0.0, -1.0, INF)
AT_LEAST_ZERO = (*NO_NUMBERS, -1.0, INF)
WEIGHT = (*NOT_ONE, 0.0, 1.0, -1.0, INF, 1e-300)
LEVEL = (*NO_NUMBERS, INF, -INF, 1e4, -1e4)

# The function, good arguments, and for each argument the values that are refused.
CALLS = [
    (
        two_gaussians.control_parameter,
        {"alpha": 1.0, "sigma": 1.0, "distance": 2.0, "s": 0.5},
        {
            "alpha": AT_LEAST_ZERO,
            "sigma": (*NO_NUMBERS, -1.0),
            "distance": AT_LEAST_ZERO,
            "s": AT_LEAST_ZERO,
        },
    ),
    (binary_entropy, {"log_odds": 1.0}, {"log_odds": NO_NUMBERS}),
    *(
        (function, {"kappa": 4.0, "weight": 0.3}, {"kappa": (*NO_NUMBERS, -1.0), "weight": WEIGHT})
        for function in (
            two_gaussians.entropy,
            two_gaussians.log_entropy,
            two_gaussians.production,
            two_gaussians.log_production,
            two_gaussians.curvature,
        )
    ),
    (
        two_gaussians.expectation,
        {"function": binary_entropy, "kappa": 4.0, "weight": 0.3},
        {"kappa": (*NO_NUMBERS, -1.0), "weight": WEIGHT},
    ),
    (
        two_gaussians.entropy_of_normal,
        {"mean": 1.0, "variance": 1.0},
        {"mean": (*NO_NUMBERS, INF, -INF), "variance": AT_LEAST_ZERO},
    ),
    (two_gaussians.variance, {"kappa": 4.0}, {"kappa": (*NO_NUMBERS, -1.0)}),
    *(
        (function, {"weight": 0.3}, {"weight": (*WEIGHT, 1e-4, 0.9999)})
        for function in (landmarks.half_entropy, landmarks.largest_production, landmarks.score_splits)
    ),
    *(
        (
            function,
            {"distance": 2.0, "s": 0.5},
            {"distance": (*NOT_ONE, 0.0, -1.0, INF), "s": (*NOT_ONE, -1.0, INF, 2.1e6)},
        )
        for function in (landmarks.peak_in_log_snr, landmarks.peak_in_ve_time, landmarks.peak_in_vp_time)
    ),
    *(
        (
            function,
            {"kappa": 4.0, "fraction": 0.5, "classes": 3},
            {"kappa": AT_LEAST_ZERO, "fraction": (*NOT_ONE, -0.1, 1.1, INF), "classes": (*NOT_WHOLE, 1)},
        )
        for function in (bounds.tail, bounds.tail_bound)
    ),
    (
        bounds.mass_bound,
        {"kappa": 4.0, "fraction": 0.5},
        {"kappa": AT_LEAST_ZERO, "fraction": (*NOT_ONE, -0.1, 1.1, INF)},
    ),
    (bounds.log_production_bounds, {"kappa": 4.0}, {"kappa": AT_LEAST_ZERO}),
    *(
        (
            function,
            {"kappa": [[0.0, 1.0], [1.0, 0.0]], "weights": [0.5, 0.5]},
            {"kappa": (*NO_MATRIX, [[0, INF], [INF, 0]], [[1, 1], [1, 1]], np.zeros((3, 3))), "weights": NO_WEIGHTS},
        )
        for function in (bounds.pair_bound, bounds.production_bounds)
    ),
    *(
        (
            function,
            {"process": OU, "t": 1.0, "distance": 2.0, "s": 0.5},
            {"t": TIME, "distance": POSITIVE, "s": AT_LEAST_ZERO},
        )
        for function in (speciation.entropy, speciation.production)
    ),
    (scaling.speciation_time, {"process": OU, "dimension": 4.0}, {"dimension": (*POSITIVE, 0.9)}),
    (
        speciation.kappa_decided,
        {"share": 0.5, "weight": 0.3},
        {"share": (*NOT_ONE, 0.0, 1.0, -1.0, 1e-10), "weight": WEIGHT},
    ),
    (
        speciation.decision_time,
        {"process": OU, "share": 0.5, "distance": 2.0, "s": 0.5},
        {"share": (*NOT_ONE, 0.0, 1.0), "distance": POSITIVE, "s": AT_LEAST_ZERO},
    ),
    *(
        (
            function,
            {"process": OU, "distance": 2.0, "s": 0.5},
            {"distance": (*POSITIVE, [], [1.0, 2.0]), "s": (*AT_LEAST_ZERO, [], [1.0, 2.0])},
        )
        for function in (speciation.peak, speciation.half_maximum)
    ),
    (
        power_laws.power_law,
        {"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]},
        {"x": (*POSITIVE, [], [1.0, 1.0, 2.0, 3.0]), "y": (*POSITIVE, [], np.ones((2, 2)))},
    ),
    (
        scaling.scaling,
        {"process": OU, "dimensions": [10.0, 100.0, 1e3, 1e4], "delta": 2.0, "s": 1.0, "share": 0.1},
        {
            "dimensions": (*POSITIVE, [], [10.0, 100.0], [4.0, 3.0, 2.0, 1.0], [[10.0, 100.0], [1e3, 1e4]]),
            "delta": (*NOT_ONE, 0.0, -1.0, INF, 1e300),
            "s": (*NOT_ONE, -1.0, INF),
            "share": (*NOT_ONE, 0.0, 0.5, 0.9),
        },
    ),
    (
        gaussian_pairs.gaussian_pair,
        {"first": 1.5, "second": 0.5, "gap": 1.0, "multiplicity": 2},
        {
            "first": (*AT_LEAST_ZERO, [], 1e60),
            "second": (*AT_LEAST_ZERO, [], 1e60),
            "gap": (*NO_NUMBERS, INF, [], 1e30),
            "multiplicity": (*NO_NUMBERS, 0, -1, 1.5, INF, [], 10**400),
        },
    ),
    *(
        (function, {"log_snr": 0.0}, {"log_snr": LEVEL})
        for function in (
            PAIR.entropy,
            PAIR.production,
            PAIR.log_odds_moments,
            PAIR.log_ratio,
            PAIR.control_parameter,
        )
    ),
    (
        isotropic_pairs.isotropic_log_entropy,
        {"dimension": 3, "ratio": 1.0},
        {"dimension": NOT_WHOLE, "ratio": (*NO_NUMBERS, 0.0, 1e-200, INF, 800.0)},
    ),
    (
        parity_classes.sign_pair,
        {"dimension": 12, "order": 3, "correlation": 0.8},
        {"dimension": (*NOT_WHOLE, 13, 2), "order": NOT_WHOLE, "correlation": (*NOT_ONE, 0.0, -0.5, 0.99, INF)},
    ),
    *(
        (function, {"log_snr": 0.0}, {"log_snr": LEVEL})
        for function in (
            SIGNS.entropy,
            SIGNS.production,
            SIGNS.log_odds_moments,
            SIGNS.control_parameter,
        )
    ),
    (
        parity_classes.sample_log_odds,
        {"pair": SIGNS, "log_snr": 0.0, "count": 4, "generator": np.random.default_rng(0)},
        {"log_snr": (*NOT_ONE, INF, -INF, 1e4), "count": (*NOT_WHOLE, 3)},
    ),
    (
        entropy_on_line,
        {"log_affinity": np.zeros(len(LINE), dtype=complex)},
        {"log_affinity": ([], "many", np.zeros(3, dtype=complex), np.full(len(LINE), NAN + 0j))},
    ),
    (
        production_on_line,
        {"log_affinity": np.zeros(len(LINE), dtype=complex), "rate": np.ones(len(LINE), dtype=complex)},
        {"log_affinity": (np.zeros(3, dtype=complex),), "rate": (np.zeros(3, dtype=complex), np.full(len(LINE), NAN))},
    ),
    (
        decision_times.half_time,
        {"entropy": lambda level: 1.0 / (1.0 + np.exp(level)), "process": OU},
        {"entropy": (lambda level: NAN * level, lambda level: 1.0)},
    ),
    (
        decision_times.peak_time,
        {"production": lambda level: np.exp(-level * level), "process": OU},
        {"production": (lambda level: NAN * level,)},
    ),
    (
        decision_times.crossing_time,
        {"moments": lambda level: (np.exp(level), np.exp(0.5 * level)), "process": OU},
        {"moments": (lambda level: (NAN * level, level), lambda level: (1.0, 2.0))},
    ),
    *(
        (function, {"kappa": 4.0, "classes": 3}, {"kappa": (*NO_NUMBERS, -1.0), "classes": (*NOT_WHOLE, 1)})
        for function in (equidistant.entropy, equidistant.production)
    ),
    (
        equidistant.partition_entropy,
        {"kappa": 4.0, "first": 2, "second": 3, "shared": 1},
        {
            "kappa": (*NO_NUMBERS, -1.0),
            "first": NOT_WHOLE,
            "second": NOT_WHOLE,
            "weight": tuple(one for one in (*NOT_ONE, 0.0, 1.0) if one is not None),
            "shared": (*NOT_ONE, 0.5, -1, 3, INF),
        },
    ),
    (
        equidistant.half_kappa,
        {"entropy_of": lambda kappa: equidistant.entropy(kappa, 3), "floor": 0.1},
        {"entropy_of": (lambda kappa: NAN, lambda kappa: 1.0), "floor": (*NOT_ONE, -0.1, 2.0)},
    ),
    (
        shared_covariance.monte_carlo,
        {
            "kappa": [[0.0, 4.0], [4.0, 0.0]],
            "scale": 1.0,
            "count": 10,
            "generator": GENERATOR,
            "weights": [0.5, 0.5],
            "groups": [[0], [1]],
        },
        {
            "kappa": (*NO_MATRIX, [[1, 1], [1, 1]]),
            "scale": AT_LEAST_ZERO,
            "count": (*NOT_WHOLE, 1),
            "weights": tuple(one for one in NO_WEIGHTS if one is not None),
            "groups": NO_GROUPS,
        },
    ),
    *(
        (function, {"mixture": POINTS, "process": OU, "t": 1.0, "x": 0.5}, {"t": (*TIME, 0.0), "x": (*NO_NUMBERS, INF)})
        for function in (
            entropy_fields.entropy_density,
            entropy_fields.entropy_source,
            entropy_fields.entropy_current,
        )
    ),
    *(
        (
            function,
            {where: [-1.0, 1.0], size: 0.5, "weights": [0.5, 0.5]},
            {
                where: (*NO_NUMBERS, [], [INF, 0.0], [1.0], [[1.0, 2.0]]),
                size: (*NOT_ONE, 0.0, -1.0, INF),
                "weights": NO_WEIGHTS,
            },
        )
        for function, where, size in (
            (one_dimension.cauchy_classes, "centres", "scale"),
            (one_dimension.box_classes, "starts", "length"),
        )
    ),
    *(
        (function, {"sigma": 1.0}, {"sigma": (*NOT_ONE, 0.0, -1.0, INF, 1e-300)})
        for classes in (
            one_dimension.cauchy_classes([-1.0, 1.0], 0.5, [0.5, 0.5]),
            one_dimension.box_classes([0.0, 0.5], 1.0, [0.5, 0.5]),
        )
        for function in (classes.entropy, classes.production)
    ),
    *(
        (
            function,
            {"starts": [1.0, 2.0], "weights": [0.5, 0.5], "t": 1.0},
            {
                "starts": (*NO_NUMBERS, [], [0.0, 1.0], [-1.0, 1.0], [INF, 1.0], [1.0]),
                "weights": NO_WEIGHTS,
                "t": (*NOT_ONE, 0.0, -1.0, INF, 1e-300, 1e300),
            },
        )
        for function in (
            absorbing_boundary.survival,
            absorbing_boundary.entropy_before_wall,
            absorbing_boundary.production_before_wall,
            absorbing_boundary.flux_into_wall,
        )
    ),
    (
        fokker_planck.on_line,
        {"centres": [-1.0, 1.0], "width": 0.5, "weights": [0.5, 0.5], "reach": 5.0, "nodes": 101},
        {
            "centres": (*NO_NUMBERS, [0.0, 9.0], [INF, 0.0]),
            "width": (*NOT_ONE, 0.0, -1.0, INF),
            "weights": NO_WEIGHTS,
            "reach": (*NOT_ONE, 0.0, -1.0, INF),
            "nodes": (*NOT_WHOLE, 100),
        },
    ),
    (
        fokker_planck.evolve,
        {
            "start": fokker_planck.on_line([-1.0, 1.0], 0.5, [0.5, 0.5], nodes=101),
            "drift": lambda x: -x,
            "g2": 0.5,
            "times": [1.0],
        },
        {"g2": (*NOT_ONE, 0.0, -1.0, INF), "times": (*NO_NUMBERS, [], [0.0], [-1.0], [INF], 3.0)},
    ),
    (
        independent_productions.random_mixture,
        {"components": 3, "dimension": 2, "seed": 0},
        {
            "components": (*NOT_WHOLE, 1),
            "dimension": (*NOT_WHOLE, 4),
            "seed": tuple(one for one in NOT_WHOLE if one != 0),
        },
    ),
    *(
        (function, {"mixture": POINTS, "log_snr": 0.0}, {"log_snr": (*NOT_ONE, INF, -INF)})
        for function in (
            independent_productions.production_from_entropy,
            independent_productions.production_from_scores,
            independent_productions.production_from_errors,
        )
    ),
    (
        reverse_paths.reverse_paths,
        {"model": POINTS, "log_snr": [-1.0, 0.0], "count": 3, "generator": GENERATOR},
        {"log_snr": (*NO_NUMBERS, [], 0.0, [1.0, 0.0], [[0.0, 1.0]], [0.0, INF]), "count": NOT_WHOLE},
    ),
    (
        simulation.forward_paths,
        {
            "process": OU,
            "clean": torch.zeros(3, 1, dtype=torch.float64),
            "t": [0.5, 1.0],
            "steps": 4,
            "generator": GENERATOR,
        },
        {
            "clean": (torch.full((3, 1), NAN),),
            "t": (*TIME, [], 1.0, [1.0, 0.5], [0.0, 1.0], [0.5, INF]),
            "steps": NOT_WHOLE,
        },
    ),
    (
        simulation.normal_test,
        {"samples": torch.randn(1, 20, 2, generator=GENERATOR)},
        {
            "samples": (
                *NO_NUMBERS,
                torch.zeros(3),
                torch.full((1, 20, 2), NAN),
                torch.zeros(1, 1, 1),
                torch.zeros(0, 20, 2),
                torch.zeros(1, 20, 0),
            )
        },
    ),
    *(
        (function, {"log_snr": 0.0}, {"log_snr": (*NO_NUMBERS, INF, -INF, 1e4)})
        for function in (POINTS.entropy, POINTS.production)
    ),
    (laws.production_in_time, {"law": POINTS, "process": OU, "t": 1.0}, {"t": (*TIME, 0.0, INF)}),
    (
        laws.monte_carlo_entropy,
        {"law": POINTS, "log_snr": 0.0, "count": 5, "generator": GENERATOR},
        {"log_snr": (*NO_NUMBERS, INF, -INF, 1e4), "count": (*NOT_WHOLE, 1)},
    ),
    (
        isotropic_mixture,
        {"means": [[-1.0], [1.0]], "deviation": 0.5, "weights": [0.5, 0.5], "component_classes": [0, 1]},
        {
            "means": ("many", None, 3.0, [], [[], []], [0.0, 1.0], [[0, 1], [1]], [[NAN], [1.0]], [[INF], [1.0]]),
            "deviation": (NAN, "many", None, -1.0, INF, [0.5], [[0.5, 0.5]], [0.5, NAN]),
            "weights": tuple(one for one in NO_WEIGHTS if one is not None),
            "component_classes": ([], [0, 0], [0, 2], [1, 2], [-1, 0], [0.5, 1.0], "ab", [0], [NAN, 0.0], [[0, 1]]),
        },
    ),
    (
        full_mixture,
        {"means": [[-1.0], [1.0]], "covariances": torch.ones(2, 1, 1)},
        {"covariances": ("many", None, [], -torch.ones(2, 1, 1), torch.zeros(2, 1, 1), torch.full((2, 1, 1), NAN))},
    ),
    (POINTS.sample, {"count": 2, "generator": GENERATOR, "condition": 0}, {"count": NOT_WHOLE, "condition": (5, -1)}),
    (
        POINTS.sample_noised,
        {"count": 2, "sigma": 1.0, "generator": GENERATOR},
        {"count": NOT_WHOLE, "sigma": (*NOT_ONE, -1.0, INF)},
    ),
    (linear().check_time, {"t": 0.5}, {"t": (*TIME, 1.1)}),
    *(
        (function, {"beta_min": 1.0, "beta_max": 2.0}, {"beta_min": RATE, "beta_max": RATE})
        for function in (linear, scaled_linear)
    ),
    (cosine, {"offset": 0.01}, {"offset": (*NOT_ONE, -1.0, INF)}),
    (
        log_snr_levels,
        {"count": 3, "first": -1.0, "last": 1.0},
        {"count": (*NOT_WHOLE, 1), "first": (*NOT_ONE, INF, 1.0), "last": (*NOT_ONE, INF, -1.0)},
    ),
    (
        edm_levels,
        {"count": 3, "sigma_max": 2.0, "sigma_min": 1.0, "rho": 7.0},
        {"count": (*NOT_WHOLE, 1), "sigma_max": RATE, "sigma_min": RATE, "rho": (*RATE, 1e308, 1e-308)},
    ),
    (
        time_levels,
        {"process": linear(), "count": 3, "first": 0.9, "last": 0.1},
        {"count": (*NOT_WHOLE, 1), "first": (*NOT_ONE, -1.0, 0.05), "last": (*NOT_ONE, -1.0, 0.95, 0.0)},
    ),
    (
        calibration,
        {"log_likelihood": np.zeros((2, 3, 2)), "labels": [0, 1], "log_snr": [0.0, 1.0, 2.0], "weights": [0.5, 0.5]},
        {
            "log_likelihood": (*NO_NUMBERS, 0.0, [], np.zeros((0, 3, 2)), np.full((2, 3, 2), NAN)),
            "labels": (*NO_NUMBERS, 0, [], [0], [0, 2], [0, -1], [0, 0.5]),
            "log_snr": (*NO_NUMBERS, 0.0, [], [0.0, 1.0], [0.0, 1.0, INF]),
            "weights": (*NO_WEIGHTS, [1 / 3, 1 / 3, 1 / 3]),
        },
    ),
    (
        entropy_rate.slopes_of,
        {"model": POINTS, "x": torch.zeros(1, 1, dtype=torch.float64), "log_snr": 0.0, "step": 1e-3},
        {"log_snr": (*NO_NUMBERS, INF), "step": (*NOT_ONE, 0.0, -1.0, INF, 1e308, 1e-308)},
    ),
    (pathwise.own_entropy, {"law": POINTS, "log_snr": 0.0}, {"log_snr": (*NO_NUMBERS, INF)}),
    (
        empirical_distribution,
        {"points": torch.zeros(2, 1), "labels": torch.tensor([0, 1]), "weights": [0.5, 0.5]},
        {
            "points": (torch.zeros(2), torch.full((2, 1), NAN), torch.zeros(2, 1, dtype=torch.int64)),
            "labels": (torch.zeros(3, dtype=torch.int64), torch.tensor([0, 0]), torch.tensor([0, 2])),
            "weights": (*(one for one in NO_WEIGHTS if one is not None), [0.2, 0.3, 0.5]),
        },
    ),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0].__module__.split('.')[-1]}.{call[0].__name__}")
def test_bad_input_is_named(call):
    function, good, wrong = call
    function(**good)
    for argument, values in wrong.items():
        for value in values:
            with pytest.raises(InputError, match=rf"^([a-z_]+, )*{argument}(, [a-z_]+)* is .*, expected ") as caught:
                function(**{**good, argument: value})
            assert "\n" not in str(caught.value)
