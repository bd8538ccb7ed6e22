"""`make demo`: a school, its far ends and one told story."""
