"""What a language model can still do besides reading users, once it was tuned on them."""
