"""The durable store: journal, what people said, lease, host information, history."""
