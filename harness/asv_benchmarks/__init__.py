"""What asv tracks, one point per commit; asv wants a regular package here."""
