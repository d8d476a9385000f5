"""Expressions of classes and vectors, written out for a few classes in coordinates: there SymPy decides an identity.

A mean E_i f is linear in the field f, so an identity between means that are not inside another function holds if it
holds between the integrands: E(i, f) becomes p_i(x) f(x) at one state x, and E(f) becomes p(x) f(x).
"""

from collections.abc import Mapping

import sympy
from sympy import Expr, Indexed, IndexedBase, Symbol

from derivations.kit import language as words
from derivations.kit.identity import Identity, Mutant

_VECTORS = {words.score, words.denoiser, words.mean, words.state}


def written_out(expression: Expr, classes: int = 3, dimension: int = 2) -> Expr:
    """The expression for `classes` classes in `dimension` coordinates, posteriors by Bayes' rule.

        p(i|x) = pi_i p_i / sum_j pi_j p_j,    L_ij = log(pi_i p_i) - log(pi_j p_j),    s = sum_j p(j|x) s_j, so D

    Priors, densities and coordinates become plain symbols, the former positive.

    >>> from derivations.kit.language import Norm2, score
    >>> written_out(Norm2(score[1] - score[2]))
    (s_1_1 - s_2_1)**2 + (s_1_2 - s_2_2)**2
    """
    return _Writer(classes, dimension).write(expression, {}, None)


def vanishes(expression: Expr, classes: int = 3, dimension: int = 2) -> bool:
    """Whether SymPy reduces the expression, written out, to zero: a proof for these numbers of classes and coordinates.

    >>> from derivations.kit.language import Total, i, mixture_score, posterior, score
    >>> vanishes(Total(posterior[i] * (score[i] - mixture_score), i))
    True
    """
    plain = written_out(expression, classes, dimension)
    return bool(sympy.simplify(sympy.expand_log(sympy.together(plain))) == 0)


def same_identity(mutant: Mutant, original: Identity, classes: int = 3, dimension: int = 2) -> bool:
    """Whether SymPy proves that a mutant says what the original says: each of its sides equals the original's."""
    return all(
        changed == side or vanishes(changed - side, classes, dimension)
        for changed, side in zip(mutant.identity.sides, original.sides, strict=True)
    )


class _Writer:
    def __init__(self, classes: int, dimension: int) -> None:
        self.members = range(1, classes + 1)
        self.coordinates = range(1, dimension + 1)
        self.joint = {n: self.symbol(words.prior, n) * self.symbol(words.density, n) for n in self.members}
        self.total = sympy.Add(*self.joint.values())

    def symbol(self, base: IndexedBase, *indices: int) -> Symbol:
        positive = base in (words.prior, words.density)
        return Symbol("_".join([str(base.label), *map(str, indices)]), positive=True if positive else None)

    def write(self, expression: Expr, where: Mapping[Symbol, int], coordinate: int | None) -> Expr:
        if isinstance(expression, (words.Total, words.Others)):
            body, index, *left_out = expression.args
            spared = [where.get(one, one) for one in left_out]
            members = [n for n in self.members if n not in spared]
            return sympy.Add(*(self.write(body, {**where, index: n}, coordinate) for n in members))
        if isinstance(expression, words.E):
            *classes, body = expression.args
            density = self.symbol(words.density, where.get(classes[0], classes[0])) if classes else self.total
            return density * self.write(body, where, coordinate)
        if isinstance(expression, (words.Norm2, words.Dot)):
            u, v = expression.args[0], expression.args[-1]
            return sympy.Add(*(self.write(u, where, c) * self.write(v, where, c) for c in self.coordinates))
        if isinstance(expression, Indexed):
            return self._indexed(expression, [int(where.get(one, one)) for one in expression.indices], coordinate)
        for mixture, base in ((words.mixture_score, words.score), (words.mixture_denoiser, words.denoiser)):
            if expression == mixture:
                shares = {n: joint / self.total for n, joint in self.joint.items()}
                return sympy.Add(*(share * self.write(base[n], where, coordinate) for n, share in shares.items()))
        if expression == words.mixture_density:
            return self.total
        if expression == words.state:
            return Symbol(f"x_{coordinate}")
        if not expression.args:
            return expression
        return expression.func(*(self.write(part, where, coordinate) for part in expression.args))

    def _indexed(self, expression: Indexed, numbers: list[int], coordinate: int | None) -> Expr:
        if expression.base == words.posterior:
            return self.joint[numbers[0]] / self.total
        if expression.base == words.log_odds:
            return sympy.log(self.joint[numbers[0]]) - sympy.log(self.joint[numbers[1]])
        if expression.base in _VECTORS:
            return self.symbol(expression.base, *numbers, coordinate or 0)
        return self.symbol(expression.base, *numbers)
