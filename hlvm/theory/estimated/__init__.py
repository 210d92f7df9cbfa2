"""Answers for models without a closed form: by regression on fresh draws, or from a linear model about the mean."""
