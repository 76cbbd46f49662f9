"""Shapes of language models, so that costs can be told without a hub and without weights."""
