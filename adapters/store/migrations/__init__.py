"""Steps from one schema of the store to the next, in order; the text of a step never changes once it is released."""
