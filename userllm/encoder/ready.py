"""A tensor that is made of frozen weights, kept for as long as they stay what they are.

An encoder's item table is one: ranking asks for it once a user, and making it costs more than
everything else where the catalogue is long.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class Ready:
    """Makes a tensor anew where its weights can learn or have changed, else gives the last one.

    Fused optimizers change weights unnoticed, so only those that cannot learn are trusted.
    """

    def __init__(self) -> None:
        self._mark: object = None
        self._made: Tensor | None = None

    def __call__(self, make: Callable[[], Tensor], weights: Iterable[Tensor]) -> Tensor:
        """Return what ``make`` makes of the weights; nobody may write into it.

        Args:
            make: Called with no argument; the same weights must give the same tensor.
            weights: All that it reads and that can change.
        """
        read = list(weights)
        if any(weight.requires_grad for weight in read):
            self._mark = self._made = None
            return make()
        kind = read[0].device.type
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        mark = (half, [(weight.data_ptr(), weight._version) for weight in read])
        if self._made is None or mark != self._mark:
            # Outside of inference mode, so that a training may read it, too.
            with torch.inference_mode(mode=False), torch.no_grad():
                self._made = make()
            self._mark = mark
        return self._made
