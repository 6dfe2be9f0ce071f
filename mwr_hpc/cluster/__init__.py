"""Where things run; knows nothing of tomograms."""
