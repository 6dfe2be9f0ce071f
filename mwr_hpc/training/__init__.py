"""What every network here shares: steps, communication between ranks, checkpoints, model files."""
