"""Images whose patches are the words of a grammar."""
