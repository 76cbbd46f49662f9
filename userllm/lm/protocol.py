"""What every language-model option hands to the rest of the project."""

from dataclasses import dataclass
from typing import Any, Protocol

from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LoadedLM:
    """A causal language model ready to be wrapped, and where it came from.

    Attributes:
        model: The Hugging Face model, in evaluation mode.
        tokenizer: Its tokenizer.
        source: Name, origin, revision or hash, licence; copied into every result.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: dict[str, Any]


class LanguageModelSource(Protocol):
    """Where a language model comes from; each option of ``lm=`` is one."""

    def load(self) -> LoadedLM:
        """Return the model and its tokenizer; raise ``UserError`` when they are not to be had."""
        ...

    def outline(self) -> PreTrainedModel | None:
        """Return the model without weights, for costs; None where its shape is not known here."""
        ...
