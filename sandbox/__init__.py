"""A stand-in for the Bitcoin payment service Blockonomics, for demos, development and tests."""
