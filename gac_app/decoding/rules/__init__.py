"""Gate, combine, weight and sampling rules: what a step decides. Knows no member, only distributions."""
