"""Shadows: warm clones that can take a production VM's traffic; their states, their traffic, their KPIs."""
