"""Whether an RSA modulus is one of those that can be factored: ROCA, CVE-2017-15361.

A library in smart cards and TPMs made its primes as k * M + (65537^a mod M), where M
is the product of the first primes. So the modulus, too, is a power of 65537 modulo
each of these, which of other moduli one in 2^167 is. Nemec, Sys, Svenda, Klinec and
Matyas, "The Return of Coppersmith's Attack" (ACM CCS 2017).
"""

from __future__ import annotations

from functools import cache
from typing import Final

_GENERATOR: Final = 65537

_LARGEST_PRIME: Final = 701
"""M of moduli of 1984 bits or more goes at least so far; smaller ones are not accepted."""


def is_roca(modulus: int) -> bool:
    """Say whether *modulus*, of 1984 bits or more, has the form that can be factored."""
    return all(pow(modulus, order, prime) == 1 for prime, order in _orders().items())


@cache
def _orders() -> dict[int, int]:
    """How many powers of 65537 there are modulo each odd prime up to 701.

    A number is one of them just when this power of it is 1.
    """
    odd = range(3, _LARGEST_PRIME + 1, 2)
    primes = (n for n in odd if all(n % divisor for divisor in range(3, int(n**0.5) + 1, 2)))
    return {prime: _order(prime) for prime in primes}


def _order(prime: int) -> int:
    power, order = _GENERATOR % prime, 1
    while power != 1:
        power, order = power * _GENERATOR % prime, order + 1
    return order
