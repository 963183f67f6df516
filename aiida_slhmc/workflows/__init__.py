"""The loop: epochs of a frozen kernel, and the self-learning run that strings them together."""
