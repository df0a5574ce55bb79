"""Classical models by well-kept libraries, for aggregates and a rotation of series within a budget."""
