"""User encoders: event histories to vectors."""
