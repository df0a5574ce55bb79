"""HAM, the hypervisor adaptation manager: a learned policy that scores the candidates of a tick."""
