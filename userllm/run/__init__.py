"""The verbs: one page each, plus run folders and provenance."""
