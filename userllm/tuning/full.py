"""Full: language model, encoder and projections all learn (paper §3.2)."""

from userllm.context.model import UserLLM
from userllm.tuning.parts import PARTS, train_only


class Full:
    """Let every parameter learn."""

    name = "full"

    def apply(self, model: UserLLM) -> None:
        """Unfreeze everything."""
        train_only(model, set(PARTS))
