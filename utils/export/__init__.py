"""A network to take away: the formats, and the folder they are written to."""
