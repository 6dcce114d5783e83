"""The backends: the protocol they implement, their registry, and the errors everyone shares."""
