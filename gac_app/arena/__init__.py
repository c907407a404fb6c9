"""Blind battles: who meets whom, what is judged, ratings of the judgements, and their exports. Pure values."""
