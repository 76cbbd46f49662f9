"""How good an answer is, per user first, and how sure we are of the mean."""
