"""The language model that goes with ``size=``, so that one word takes an experiment to full size.

Source: the paper's PaLM-2 XXS is not public (User-LLM §5.1); an open model of 1.1 B parameters
stands in for it.
"""

from transformers import PreTrainedModel

from userllm.lm.protocol import LanguageModelSource, LoadedLM


class BySize:
    """One of three language models.

    Args:
        choice: Which one: the name of one of the other arguments.
        tiny: For tests and smoke runs.
        smollm2_135m: For a CPU or a small GPU.
        huggingface: For the paper's size.
    """

    def __init__(
        self,
        *,
        choice: str,
        tiny: LanguageModelSource,
        smollm2_135m: LanguageModelSource,
        huggingface: LanguageModelSource,
    ) -> None:
        options = {"tiny": tiny, "smollm2_135m": smollm2_135m, "huggingface": huggingface}
        if choice not in options:
            raise ValueError(f"size.lm={choice}: expected one of {', '.join(options)}")
        self.chosen = options[choice]

    def load(self) -> LoadedLM:
        """Return the chosen model with its tokenizer."""
        return self.chosen.load()

    def outline(self) -> PreTrainedModel | None:
        """Return the chosen model without weights, None where its shape is not known here."""
        return self.chosen.outline()
