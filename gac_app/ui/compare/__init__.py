"""The Compare tab: the board with its lines, the inspector, and the handlers of runs."""
