"""The ways a user reaches the language model."""
