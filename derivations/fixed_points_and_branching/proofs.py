"""Fixed points of the score: what they obey, when they are stable, how they fork and fold.

POINTS      three points seen along a line, with the density of their noisy states written out, to be differentiated;
            their weights are free, and take up what lies across the line: it may be any line in any space
PAIR        two points c + m and c - m with half log-odds h
SIMPLEX     K points at equal distances, in coordinates, and their denoiser on the line from the centre to the first
PLAIN       nothing but calculus
"""

import numpy as np
from sympy import Derivative, Expr, Function, IndexedBase, Symbol, atanh, exp, log, tanh

from derivations.fixed_points_and_branching.data_in_noise import point_set
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import Total, j, k, posterior
from derivations.kit.worlds import World, Worlds, jets

place = Symbol("x", real=True)  # the state along a line
level = Symbol("sigma", positive=True)
point = IndexedBase("y")  # the points, as far as they lie along the line
guess, log_density = Function("D")(place, level), Function("ell")(place, level)

_COUNT = 3
_points = [Symbol(f"y_{n}", real=True) - 1 for n in range(_COUNT)]  # on both sides of zero
_log_weights = [Symbol(f"w_{n}", real=True) for n in range(_COUNT)]


def _written(expression: Expr) -> Expr:
    """Sums over three points, Bayes' rule and the density of the noisy states, and then all derivatives."""
    joint = [exp(w - (place - y) ** 2 / (2 * level**2)) for w, y in zip(_log_weights, _points, strict=True)]
    total = sum(joint)
    denoised = sum(share * y for share, y in zip(joint, _points, strict=True)) / total
    plain = expression.replace(
        lambda part: isinstance(part, Total),
        lambda part: sum(
            _written(part.args[0].xreplace({point[part.args[1]]: y, posterior[part.args[1]]: share / total}))
            for share, y in zip(joint, _points, strict=True)
        ),
    )
    return plain.xreplace({guess: denoised, log_density: log(total)}).doit()


POINTS = (jets(0, _written), jets(1, _written))

spread = Total(posterior[j] * (point[j] - guess) ** 2, j)  # the variance of the points given x


def posterior_slope() -> Proof:
    """ID 40, 43: the derivative of the posterior mean is its variance over the noise.

    >>> print(posterior_slope().last)
    Total((-D(x, sigma) + y[j])**2*posterior[j], j)/sigma**2
    """
    proof = Proof(Derivative(guess, place), POINTS)
    proof.then(
        "a point's log-posterior grows by its distance from the mean of all",
        Total(point[j] * posterior[j] * (point[j] - guess) / level**2, j),
    )
    proof.then("and the posterior's mean distance from its own mean is zero", spread / level**2)
    return proof


def score_jacobian() -> Proof:
    """ID 40, 45: the curvature of the log density along a line.

    >>> print(score_jacobian().last)
    (-1 + Total((-D(x, sigma) + y[j])**2*posterior[j], j)/sigma**2)/sigma**2
    """
    proof = Proof(Derivative(log_density, (place, 2)), POINTS)
    proof.then("Tweedie's formula", Derivative((guess - place) / level**2, place))
    proof.then("the slope of the denoiser", (spread / level**2 - 1) / level**2)
    return proof


def sweep() -> Proof:
    """How the posterior mean at one state moves with the noise: what pushes a fixed point along its path.

    >>> print(sweep().last)
    Total((x - y[j])**2*(-D(x, sigma) + y[j])*posterior[j], j)/sigma**3
    """
    proof = Proof(Derivative(guess, level), POINTS)
    proof.then(
        "only the posterior depends on the noise",
        Total(point[j] * posterior[j] * ((place - point[j]) ** 2 - _mean((place - point[j]) ** 2)) / level**3, j),
    )
    proof.then(
        "a covariance needs one factor without its mean",
        Total((place - point[j]) ** 2 * posterior[j] * (point[j] - guess), j) / level**3,
    )
    return proof


def _mean(expression: Expr) -> Expr:
    return Total(posterior[k] * expression.xreplace({j: k}), k)


magnet = Symbol("m", positive=True)  # half the distance of two points
centre = Symbol("c", real=True)
field = Symbol("h", real=True)  # half the log-odds of their weights
coupling = Symbol("a", positive=True)  # m^2 / sigma^2
order = Symbol("y", real=True)  # (x - c) / m
_up, _down = exp(field), exp(-field)


def _pair(expression: Expr) -> Expr:
    upper = _up * exp(-((place - centre - magnet) ** 2) / (2 * level**2))
    lower = _down * exp(-((place - centre + magnet) ** 2) / (2 * level**2))
    value = ((centre + magnet) * upper + (centre - magnet) * lower) / (upper + lower)
    return expression.xreplace({guess: value}).doit()


PAIR = (jets(0, _pair), jets(1, _pair))


def curie_weiss() -> Proof:
    """ID 44: the denoiser of two points.

    >>> print(curie_weiss().last)
    c + m*tanh(h + m*(-c + x)/sigma**2)
    """
    proof = Proof(guess, PAIR)
    up = exp(field + magnet * (place - centre) / level**2)
    proof.then(
        "the squares that both exponents share cancel",
        ((centre + magnet) * up + (centre - magnet) / up) / (up + 1 / up),
    )
    proof.then("the centre comes out, and what is left is a hyperbolic tangent", centre + magnet * tanh(log(up)))
    proof.then("the logarithm of the ratio", centre + magnet * tanh(field + magnet * (place - centre) / level**2))
    return proof


def interference() -> Proof:
    """ID 44 for any number of points: the field that the others exert on a pair at +-m, exactly, where |D| < m.

    >>> print(interference().last)
    D(x, sigma)
    """
    above, below = (Total(posterior[j] * (magnet + sign * point[j]), j) for sign in (1, -1))
    proof = Proof(magnet * tanh(log(above / below) / 2), POINTS)
    proof.then("a hyperbolic tangent of half a logarithm is a ratio", magnet * (above - below) / (above + below))
    proof.then("probabilities sum to one", guess)
    return proof


classes, control = Symbol("K", positive=True), Symbol("kappa", positive=True)
along = Function("D")(order)  # the denoiser at the share y of the way from the centre to a point, as such a share
_pull = (exp(order * control / 2) - 1) / (exp(order * control / 2) + classes - 1)


def _simplex(count: int, kappa: float, share: float) -> World:
    """Equidistant points, and the state on the way from their centre to one; what the denoiser of these says."""
    corners = np.eye(count) / np.sqrt(2.0)  # at distance 1 from one another
    centre_of_all = corners.mean(axis=0)
    axis = corners[0] - centre_of_all
    found = point_set(corners).denoised(centre_of_all + share * axis, 1.0 / np.sqrt(kappa)) - centre_of_all
    values = {classes: count, control: kappa, order: share, along: found @ axis / (axis @ axis)}
    return World(values)


SIMPLEX = Worlds(_simplex, (3, 5.0, 0.7), (7, 9.0, -0.1), (2, 3.0, 0.4))
PLAIN = (jets(0, lambda expression: expression.doit()), jets(1, lambda expression: expression.doit()))


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity(
            "eq-fixed-score",
            (level**2 * Derivative(log_density, place), guess - place, Total(posterior[j] * point[j], j) - place),
            "ID 39, 42",
            POINTS,
        ),
        posterior_slope().identity("eq-fixed-slope", "ID 40"),
        score_jacobian().identity("eq-fixed-jacobian", "ID 40, 45"),
        sweep().identity("eq-fixed-sweep", "none"),
        Identity("eq-fixed-stretching", (Derivative(guess - place, place), spread / level**2 - 1), "ID 49, 50", POINTS),
        curie_weiss().identity("eq-fixed-curie-weiss", "ID 44"),
        Identity(
            "eq-fixed-field",
            (Derivative(atanh(order) - coupling * order, order), 1 / (1 - order**2) - coupling),
            "none",
            PLAIN,
        ),
        interference().identity("eq-fixed-interference", "ID 44"),
        Identity("eq-fixed-simplex", (along, _pull), "none", SIMPLEX),
        Identity(
            "eq-fixed-simplex-slope",
            (
                Derivative(_pull, order),
                control / 2 * classes * exp(order * control / 2) / (exp(order * control / 2) + classes - 1) ** 2,
            ),
            "none",
            PLAIN,
        ),
    )
