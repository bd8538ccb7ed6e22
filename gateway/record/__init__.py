"""The only disk: the ledger, the thread that writes it, and what is still owed."""
