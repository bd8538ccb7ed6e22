"""Units on a bus without a bus: registers, a line with bytes on it, ports a real master opens."""
