"""Who is asking: passwords, signing keys, tokens, sessions."""
