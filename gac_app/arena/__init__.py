"""Blind battles as pure values: contestants, draws, judgements and ratings. Knows no database and no page."""
