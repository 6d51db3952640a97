"""Who is watching."""
