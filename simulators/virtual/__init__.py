"""Virtual time, and a whole world that lives in it."""
