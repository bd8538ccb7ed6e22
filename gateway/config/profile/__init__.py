"""Profiles of units: YAML to Profile, every mistake at once.

profiles.py  finds and reads one         models.py   its shape (pydantic)
review.py    what no single key can say  places.py   one place in a unit
unfold.py    families to channels
"""
