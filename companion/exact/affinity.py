"""The class entropy of two classes from their affinity: one integral on a line, however many dimensions there are.

The affinity of two densities is Z(q) = int p_A^q p_B^(1-q) dx. On the line q = 1/2 + i omega it is the characteristic
function of the log-odds under sqrt(p_A p_B). Written over that measure, class entropy is the mean of
g(L) = cosh(L/2) h_b(L), and g solves g'' - g/4 = -1/(4 cosh(L/2)): its Fourier transform is known. Hence, for two
equally probable classes,

    H = (1/4) int Z(q) / ( q (1-q) cosh(pi omega) ) d omega,    q (1-q) = 1/4 + omega^2.

The affinity of classes made of independent blocks is the product of the blocks' affinities, so log Z is a sum, and a
million dimensions cost what one costs. Noise acts on it by a law of its own, with D_A, D_B the denoisers of the classes
and the average taken over p_A^q p_B^(1-q) / Z:

    -d log Z / d lambda = q (1-q) R(q),    R(q) = (snr/2) < |D_A - D_B|^2 >_q,

and the production is -dH/dlambda = (1/4) int Z(q) R(q) / cosh(pi omega) d omega. Not in the papers.

`LINE` holds the points q at which a pair of classes gives log Z and R; `entropy_on_line` and `production_on_line` sum
over them. The integrands are analytic and decay like exp(-pi omega): the trapezoidal rule is exact to about 1e-14 nats,
absolutely, as far as log Z is.
"""

import numpy as np
from numpy.typing import NDArray

from companion.arguments import Array
from companion.errors import InputError

__all__ = ["LINE", "ComplexArray", "entropy_on_line", "production_on_line"]

ComplexArray = NDArray[np.complex128]

# exp(-pi 11) / 11^2 is below 1e-17. A step of 2 pi / R adds what the log-odds repeated with the period R would: for
# R = 256 that is exp(-88) at most, whatever the separation of the classes.
_FARTHEST = 11.0
_STEP = 2.0 * np.pi / 256.0
_OMEGA = _STEP * np.arange(int(_FARTHEST / _STEP) + 1)

LINE: ComplexArray = np.asarray(0.5 + 1j * _OMEGA, dtype=np.complex128)

# (1/4) of both half lines, hence 1/2 of one; its first point lies on the boundary of the two and counts once.
_SHARE = np.where(_OMEGA == 0.0, 0.25, 0.5) * _STEP / np.cosh(np.pi * _OMEGA)


def entropy_on_line(log_affinity: ComplexArray) -> Array:
    """The class entropy H in nats of two equally probable classes, from log Z at `LINE`: (..., len(LINE)) to (...).

    Raises InputError for another shape, or NaN.

    >>> float(entropy_on_line(np.zeros(len(LINE), dtype=complex)).round(12))     # equal classes: log 2
    0.69314718056
    """
    result: Array = np.exp(_checked("log_affinity", log_affinity)).real @ (_SHARE / (0.25 + _OMEGA**2))
    return result


def production_on_line(log_affinity: ComplexArray, rate: ComplexArray) -> Array:
    """The production -dH/dlambda in nats, from log Z and R at `LINE`: (..., len(LINE)) to (...).

    Raises as `entropy_on_line` does. Two classes at distance |Delta| in noise have R = snr |Delta|^2 / 2; while the
    noise is large, the production is an eighth of snr |Delta|^2:

    >>> far = np.zeros(len(LINE), dtype=complex)
    >>> float(production_on_line(far, 0.5 * np.ones_like(far)).round(12))
    0.125
    """
    result: Array = (np.exp(_checked("log_affinity", log_affinity)) * _checked("rate", rate)).real @ _SHARE
    return result


def _checked(argument: str, values: ComplexArray) -> ComplexArray:
    if np.shape(values)[-1:] != LINE.shape or np.any(np.isnan(values)):
        expected = f"numbers of shape (..., {len(LINE)}), one for each point"
        raise InputError(argument, f"of shape {np.shape(values)}", expected)
    return values
