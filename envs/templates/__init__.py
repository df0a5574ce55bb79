"""Templates: pre-configured VMs by application type, chosen and sized to what is predicted."""
