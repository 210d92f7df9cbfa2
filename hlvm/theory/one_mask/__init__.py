"""What one mask lets visible and masked part share."""
