"""Node types: checkpoints, configurations and blocks of labels."""
