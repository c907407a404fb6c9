"""The Arena: battles, their judgements, the standings, and what its operator sees."""
