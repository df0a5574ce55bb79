"""The demand prediction engine: one port, the native online engine, its scores and its tables."""
