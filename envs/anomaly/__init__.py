"""Anomalies: what deviates from a slow reference, judged by each series' own past."""
