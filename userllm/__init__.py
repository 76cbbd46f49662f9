"""userllm: the best way, in accuracy and in cost, to give a language model a user's history."""

__version__ = "0.1.0"
