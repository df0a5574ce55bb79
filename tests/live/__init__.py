"""Real libvirt hosts, real guests: the testbed and what is tried on it (``make test-live``)."""
