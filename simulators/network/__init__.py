"""The network between: real brokers, a test authority, and an in-process broker."""
