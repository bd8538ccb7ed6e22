"""YAML to Premises. `load` runs in a short-lived child; the daemon itself only loads `child`."""
