"""What chooses: everything here maps a snapshot to actions and does no I/O."""
