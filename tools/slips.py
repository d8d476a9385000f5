"""Every identity of the book with every slip that can be made in it, and the slips that no check refuses.

    python -m tools.slips

A slip is one sign, coefficient or index changed (`derivations.kit.identity.mutants`). One that still holds
says the same in other words; the tests of `tests/derivations` list each of them and let SymPy prove that it is so.
"""

from derivations import identities
from derivations.kit.identity import mutants, survivors

__all__ = ["main"]


def main() -> int:
    made = alive = 0
    for label, identity in identities().items():
        count, left = len(list(mutants(identity))), survivors(identity)
        made, alive = made + count, alive + len(left)
        print(f"{label:40s} {count:4d} slips, {len(left)} hold" + "".join(f"\n    {mutant.slip}" for mutant in left))
    print(f"{len(identities())} identities, {made} slips, {made - alive} refused, {alive} the same identity")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
