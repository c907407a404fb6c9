"""Blind battles as pure values: contestants, draws, judgements, ratings and exports. Knows no database and no page."""
