"""Who did what: an append-only record whose entries are chained by hashes."""
