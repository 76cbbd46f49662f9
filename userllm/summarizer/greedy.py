"""A language model that answers an instruction about texts, greedily and in batches.

Shape suffixes: B batch, T tokens read, N tokens written.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, PreTrainedModel

from userllm.cost.flops import weight_count
from userllm.errors import UserError
from userllm.lm.blocks import decoder_blocks, longest_text
from userllm.lm.protocol import LoadedLM
from userllm.summarizer.store import Written


@dataclass(frozen=True)
class WritingWork:
    """What a token costs a model, for reports that must not load it again.

    Attributes:
        blocks: Weights of all blocks.
        head: Weights of the output layer.
    """

    blocks: int
    head: int

    def flops(self, written: Written) -> float:
        """Return the work of one summary: 2 FLOPs per weight and token, with a key/value cache.

        Attention is left out, as is usual for this form; the output layer works once for each
        token written.
        """
        tokens = written.tokens_read + written.tokens_written
        return 2.0 * (self.blocks * tokens + self.head * written.tokens_written)


def writing_work(model: PreTrainedModel) -> WritingWork:
    """Return what a model's tokens cost."""
    head = model.get_output_embeddings().weight.numel()
    return WritingWork(weight_count(*decoder_blocks(model)), head)


class GreedyWriter:
    """Follows one instruction for many texts; the same text gives the same answer.

    Args:
        loaded: The language model; its chat template is used when its tokenizer has one.
        instruction: What to do with each text.
        max_new_tokens: Longest answer, in tokens.
    """

    def __init__(self, *, loaded: LoadedLM, instruction: str, max_new_tokens: int) -> None:
        # What transformers mixes into a model is typed in part only.
        self.model: Any = loaded.model
        self.tokenizer = loaded.tokenizer
        self.instruction, self.max_new_tokens = instruction, max_new_tokens
        self.chat = bool(self.tokenizer.chat_template)
        self.ends = _ends(loaded)

    def __call__(self, texts: list[str]) -> list[Written]:
        """Return one answer per text.

        Raises:
            UserError: A text does not fit into what the model can read.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(device)
        rows = [self._tokens(text) for text in texts]
        self._refuse_long(max(len(row) for row in rows))
        padding = self.ends[0] if self.ends else 0
        ids_BT = _left_padded(rows, padding)
        mask_BT = _left_padded([torch.ones_like(row) for row in rows], 0)
        with torch.inference_mode():
            output_BS: Any = self.model.generate(
                ids_BT.to(device),
                attention_mask=mask_BT.to(device),
                generation_config=GenerationConfig(
                    max_new_tokens=self.max_new_tokens,
                    do_sample=False,
                    pad_token_id=padding,
                    eos_token_id=self.ends or None,
                ),
            )
        answers_BN = output_BS[:, ids_BT.shape[1] :].tolist()
        return [self._written(row, answer) for row, answer in zip(rows, answers_BN, strict=True)]

    def prompt(self, text: str) -> str:
        """Return what the model reads for a text."""
        # Small models go on with the list when it comes last, instead of doing what they are told.
        asked = f"{text}\n{self.instruction}"
        if not self.chat:
            return f"{asked}\nSummary:"
        prompt: Any = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}], tokenize=False, add_generation_prompt=True
        )
        return str(prompt)

    def _tokens(self, text: str) -> Tensor:
        # A chat template writes its own start token.
        ids = self.tokenizer(self.prompt(text), add_special_tokens=not self.chat)["input_ids"]
        return torch.tensor(ids, dtype=torch.int64)

    def _refuse_long(self, longest: int) -> None:
        limit = longest_text(self.model.config)
        if limit and longest + self.max_new_tokens > limit:
            raise UserError(
                f"a history of {longest} tokens and a summary of {self.max_new_tokens} are more "
                f"than the {limit} tokens that the summarizer's language model reads. Expected "
                "less: lower context.summarizer.events, or choose a model with a longer window."
            )

    def _written(self, row: Tensor, answer: list[int]) -> Written:
        stop = next((i for i, token in enumerate(answer, 1) if token in self.ends), len(answer))
        text = str(self.tokenizer.decode(answer[:stop], skip_special_tokens=True))
        return Written(without_repetition(text), len(row), stop)


def without_repetition(text: str) -> str:
    """Return a text without sentences that it has said before: greedy models fall into loops."""
    sentences = re.split(r"(?<=[.!?])\s+", text.strip())
    return " ".join(dict.fromkeys(sentences))


def _ends(loaded: LoadedLM) -> list[int]:
    """Return the tokens that end an answer: the model's own, and its tokenizer's."""
    configured: Any = getattr(loaded.model.generation_config, "eos_token_id", None)
    known = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in [*known, loaded.tokenizer.eos_token_id] if token is not None})


def _left_padded(rows: list[Tensor], value: int) -> Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value, padding_side="left")
