"""A split of one Gaussian number, with everything exact: both latents, both decoders, what they generate, its bound.

X is normal of the variance v; X_1 is X in the noise of the last level, X_tau is X_1 in further noise up to the split's.
Z_sem and Z_per are X in noise of their own, of the shares r. The best decoders are posterior means; a sample is
drawn from pure noise to the split with the one, and from there to the last level with the other.
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad

from companion.arguments import Array

X, SPLIT, LAST, SEMANTIC, PERCEPTUAL = range(5)


@dataclass(frozen=True)
class GaussianSplit:
    """The variance v, log-snr of split and last level (of unit signal), and the shares of both latents.

    >>> law = GaussianSplit(1.0, 0.0, 3.0, 0.5, 0.5)
    >>> bool(law.bound() > law.surprise() > law.entropy(LAST, (SEMANTIC, PERCEPTUAL)))
    True
    """

    variance: float
    split: float
    last: float
    semantic: float
    perceptual: float

    @property
    def covariance(self) -> Array:
        """Of X, X_tau, X_1, Z_sem, Z_per, (5, 5); latents are scaled to X + noise."""
        whole = np.full((5, 5), self.variance)
        near, more = np.exp(-self.last), np.exp(-self.split) - np.exp(-self.last)
        whole[LAST, LAST] += near
        whole[SPLIT, SPLIT] += near + more
        whole[LAST, SPLIT] = whole[SPLIT, LAST] = self.variance + near  # X_tau is X_1 and further noise
        for latent, share in ((SEMANTIC, self.semantic), (PERCEPTUAL, self.perceptual)):
            whole[latent, latent] = self.variance / share
        return whole

    def entropy(self, of: int, given: tuple[int, ...] = ()) -> float:
        """The differential entropy of one variable given others, in nats."""
        return 0.5 * float(np.log(2.0 * np.pi * np.e * self.spread(of, given)))

    def spread(self, of: int, given: tuple[int, ...] = ()) -> float:
        """The conditional variance of one variable given others."""
        return float(self.covariance[of, of] - self.gain(of, given) @ self.covariance[list(given), of])

    def gain(self, of: int, given: tuple[int, ...]) -> Array:
        """The coefficients of the conditional mean of one variable given others."""
        known = list(given)
        found = np.linalg.solve(self.covariance[np.ix_(known, known)], self.covariance[known, of])
        return np.asarray(found, dtype=np.float64)

    def correlation(self, one: int, other: int) -> float:
        """The correlation of two variables."""
        whole = self.covariance
        return float(whole[one, other] / np.sqrt(whole[one, one] * whole[other, other]))

    def information(self, one: int, other: int, given: tuple[int, ...] = ()) -> float:
        """I(one; other | given) in nats."""
        return self.entropy(one, given) - self.entropy(one, (*given, other))

    def loss(self) -> float:
        """The split loss with the best decoders, int (snr/2) Var(X | X_level, Z) d log-snr, by quadrature."""

        def rate(level: float, share: float) -> float:
            precision = 1.0 / (self.variance * (1.0 - share))
            return float(0.5 / (1.0 + precision * np.exp(-level)))

        early = quad(rate, -60.0, self.split, args=(self.semantic,), epsabs=1e-12, epsrel=1e-12, limit=200)[0]
        return float(early + quad(rate, self.split, self.last, args=(self.perceptual,), epsabs=1e-12, epsrel=1e-12)[0])

    def bound(self) -> float:
        """The split loss and its constants: SI 70, an upper bound of `surprise`."""
        return self.loss() + 0.5 * float(np.log(2.0 * np.pi * np.e) - self.last)

    def surprise(self) -> float:
        """E[ -log p(x_1 | z_sem, z_per) ] of the samples that are drawn with both decoders."""
        first = self.gain(SPLIT, (SEMANTIC,))
        onward, own = self.gain(LAST, (SPLIT, PERCEPTUAL))
        variance = self.spread(LAST, (SPLIT, PERCEPTUAL)) + onward**2 * self.spread(SPLIT, (SEMANTIC,))
        toward = np.zeros(5)
        toward[LAST], toward[SEMANTIC], toward[PERCEPTUAL] = 1.0, -onward * first[0], -own
        missed = float(toward @ self.covariance @ toward)
        return float(0.5 * (np.log(2.0 * np.pi * variance) + missed / variance))
