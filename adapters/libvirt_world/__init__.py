"""A cluster of real libvirt hosts behind the ``World`` port.

    settings ─► connection (one per host: keeper thread, deadlines) ─► sample ─► telemetry ─► snapshot: ClusterState
                                     ▲
    order ─► carrier of its kind (spawning, removal, reshaping, migration, shifting, powering, renting)

Nothing here is named ``libvirt``: the library keeps its name, and is imported through ``library`` alone.
"""
