"""Rules that are tuned, distilled from a policy, and proposed from what was observed; all proven in the simulator."""
