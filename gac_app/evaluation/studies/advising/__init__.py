"""What the study `advise` does and says: it finds settings, judges the best of them, and tells which to take."""
