"""Shared information of the two parts under one mask."""
