"""The settings panel: its fields, and their values as settings of a run."""
