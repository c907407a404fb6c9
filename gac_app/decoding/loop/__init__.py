"""The decoding loop: one step, and one session of steps. Knows no run, visitor or page."""
