"""What stands between a user encoder and a context: which vectors a language model may read."""
