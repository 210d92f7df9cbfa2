"""Other scores of the field."""
