"""The configs of a sweep's cells without composing every one of them.

Composing takes a tenth of a second, and a study has up to a hundred cells. But a cell is the first
cell with some choices changed, and what a choice changes can be seen once: its effect on the
values as they are written, before interpolation.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from omegaconf import OmegaConf

from userllm.config import Composer, resolve, without_hydra

ABSENT = object()
Path = tuple[str, ...]


class CellConfigs:
    """Puts cells together from the first cell and the effects of single choices.

    What two choices both change, the later one decides, as in Hydra; presets that undo each
    other's values in more complicated ways would need real composition.

    Args:
        composer: Composes the first cell, and it again with one choice changed.
        first: The overrides of the first cell.
        without: Keys that nobody will look at and no other value refers to.
    """

    def __init__(
        self, composer: Composer, first: Sequence[str], *, without: Collection[str] = ()
    ) -> None:
        self.composer, self.first, self.without = composer, list(first), without
        self.base = self._written(self.first)
        self._effects: dict[tuple[int, str], dict[Path, Any]] = {}

    def __call__(self, cell: Sequence[str], *, size: str | None = None) -> dict[str, Any]:
        """Return the resolved config of a cell.

        Args:
            cell: Its overrides, in the first cell's order.
            size: Another size; presets decide over it, as if it had been the default.
        """
        tree = deepcopy(self.base)
        end = len(self.first)
        changed = {} if size is None else {end: f"size={size}"}
        changed |= {at: new for at, new in enumerate(cell) if new != self.first[at]}
        for place, override in changed.items():
            for path, value in self._effect(place, override).items():
                _put(tree, path, value)
        return resolve(OmegaConf.create(tree))[0]

    def _effect(self, place: int, override: str) -> dict[Path, Any]:
        if (place, override) not in self._effects:
            changed = [*self.first[:place], override, *self.first[place + 1 :]]
            effect = dict(_differences(self.base, self._written(changed)))
            self._effects[place, override] = effect
        return self._effects[place, override]

    def _written(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the composed config as it is written, interpolations included."""
        composed = self.composer.look_at(*overrides)
        tree: Any = OmegaConf.to_container(without_hydra(composed), resolve=False)
        return {key: value for key, value in tree.items() if key not in self.without}


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], path: Path = ()
) -> Iterator[tuple[Path, Any]]:
    """Yield the path of every value that differs, with the new one; objects are replaced whole."""
    for key in dict.fromkeys([*old, *new]):
        one, other = old.get(key, ABSENT), new.get(key, ABSENT)
        same_class = _target(one) == _target(other)
        if isinstance(one, Mapping) and isinstance(other, Mapping) and same_class:
            yield from _differences(one, other, (*path, key))
        elif one != other:
            yield (*path, key), other


def _target(node: Any) -> Any:
    return node.get("_target_") if isinstance(node, Mapping) else None


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    *parents, last = path
    for key in parents:
        child = tree.get(key)
        tree[key] = child if isinstance(child, dict) else {}
        tree = tree[key]
    if value is ABSENT:
        tree.pop(last, None)
    else:
        tree[last] = deepcopy(value)
