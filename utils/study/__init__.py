"""The study: what it compares, what has come out so far, and what that says."""
