"""The demand prediction engine."""
