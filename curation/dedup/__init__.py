"""Near-duplicates: signatures, candidates, verifying, and who survives."""
