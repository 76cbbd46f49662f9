"""The rule by which every language model writes, whatever its own settings say."""

from transformers import GenerationConfig


def writing_rule(*, beams: int, limit: int, end: int, least: int = 0) -> GenerationConfig:
    """Return settings of generation without sampling, penalties or a preference for a length.

    Args:
        beams: Width of the beam search; 1 takes the likeliest token each time.
        limit: Most tokens to write, the end token included.
        end: Token that ends an answer.
        least: How many tokens come before it at least.
    """
    return GenerationConfig(
        max_new_tokens=limit,
        min_new_tokens=least,
        num_beams=beams,
        do_sample=False,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        length_penalty=1.0,
        early_stopping=False,
        eos_token_id=end,
        pad_token_id=end,
    )
