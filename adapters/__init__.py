"""What touches the world: files, sockets, hypervisors, the command line."""
