"""Published and practised ways of running a data centre, behind one protocol."""
