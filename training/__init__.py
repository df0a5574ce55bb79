"""Training, tuning and export of policies."""
