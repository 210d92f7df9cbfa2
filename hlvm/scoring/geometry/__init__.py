"""The geometry of a code: how many directions it uses, how it lies on a sphere, and how alike two codes are shaped."""
