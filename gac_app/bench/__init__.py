"""What the engine costs, as ratios: what is compared runs in turn, so that a busy machine slows both alike."""
