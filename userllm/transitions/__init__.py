"""Counts of what follows what, which an encoder's ranking can lean on."""
