"""The network between: real brokers, a test authority, ferries, cables, an in-process broker."""
