"""The far ends: an alarm receiving centre, or a case system. `core` is the part to embed."""
