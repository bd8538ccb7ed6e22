"""The only MQTT: the contract of a connection, paho behind it, and what keeps it up."""
