"""Where language models come from."""
