"""What an agent is shown and may do: values, workloads, scenarios, worlds."""
