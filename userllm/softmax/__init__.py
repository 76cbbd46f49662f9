"""Cross-entropies over catalogues that are too large for a whole score matrix."""
