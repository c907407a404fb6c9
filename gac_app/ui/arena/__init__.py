"""The Arena and Leaderboard tabs."""
