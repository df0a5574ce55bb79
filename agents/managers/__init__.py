"""Components that watch the cluster beside the proposer and offer candidates of their own."""
