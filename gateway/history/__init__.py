"""History: every reading in a database, and the account of those that are not."""
