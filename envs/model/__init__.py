"""The values that pass between the rooms: resources, actions, plans, snapshots."""
