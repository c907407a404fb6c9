"""A member's next-token distribution in the union vocabulary. Knows one member at a time."""
