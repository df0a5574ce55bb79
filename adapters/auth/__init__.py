"""Who asks, and what they may: bearer tokens, OIDC, roles, rate limits."""
