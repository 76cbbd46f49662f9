"""Numbers that look random but depend on nothing except their keys.

They give every (user, item) pair and every (seed, user, step) triple a value of its own, so that
results depend neither on row order nor on how the work is cut into chunks.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

U64 = np.uint64


def splitmix64(values: ArrayLike) -> NDArray[np.uint64]:
    """Scramble 64-bit integers one to one; neighbours end up far apart.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    with np.errstate(over="ignore"):  # wrapping around is the point
        mixed = np.asarray(values).astype(U64) + U64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> U64(27))) * U64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> U64(31)))


def hash_keys(*keys: ArrayLike) -> NDArray[np.uint64]:
    """Return one hash per row of the broadcast keys; the order of the keys matters."""
    state = splitmix64(keys[0])
    for key in keys[1:]:
        state = splitmix64(state ^ np.asarray(key).astype(U64))
    return state


def uniform(*keys: ArrayLike) -> NDArray[np.float64]:
    """Return one number in (0, 1) per row of the broadcast keys."""
    return ((hash_keys(*keys) >> U64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(*keys: ArrayLike) -> NDArray[np.float64]:
    """Return one standard normal number per row of the broadcast keys (Box-Muller)."""
    radius = np.sqrt(-2.0 * np.log(uniform(*keys, 0)))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniform(*keys, 1)))
