"""A slow, plain-Python reading of ``docs/physics.md``, against which the native simulator is held.

It knows nothing of how the native code keeps its books: at every instant at which anything changes it works
out all rates of all hosts anew, and sums rate × duration.
"""
