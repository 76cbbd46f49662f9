"""Where the vectors of texts come from."""
