"""Questions, prompts, and whether an answer matches. Knows no model."""
