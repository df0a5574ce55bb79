"""The composition root: configuration, command line, reports."""
