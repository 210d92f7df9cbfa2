"""What random masks share: probabilities over the law of a strategy."""
