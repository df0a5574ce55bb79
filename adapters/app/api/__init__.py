"""The API: what a controller shows and takes over HTTP, under ``/v1``."""
