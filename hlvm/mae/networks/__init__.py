"""Networks of masked autoencoders, in Flax, and what builds them."""
