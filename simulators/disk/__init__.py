"""Disks that misbehave: faulty.py at any one call, shadow.py at a power cut, late.py in time."""
