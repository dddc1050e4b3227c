"""Networks to take away: the file formats, and the folder they are written to."""
