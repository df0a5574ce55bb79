"""A simulated cluster that outlives its controller: what happened to it is a file, and the simulator replays it.

The native simulator is deterministic, so its state is its scenario, its seed and everything that was done to it. Each
step of an order is appended to ``world.jsonl`` *before* it is played, which is the moment at which the call has
"reached the hypervisor": a controller that is killed before finds the world untouched, one that is killed after finds
the step done. A torn last line is a call that did not arrive.

As on a real hypervisor an order is several steps, and stopping between two leaves something half done:

| kind | steps |
|---|---|
| spawn, shadow, microvm | ``define`` (the name is taken, nothing runs), ``start`` |
| migrate | ``prepare`` (an incoming VM waits on the destination), ``move`` |
| reshape | one step for each resource that changes |
| despawn | ``drain`` (no more traffic), ``stop`` |
| place, shift, power, rent | one, ``do`` |
"""
