"""Models: making and loading them, turning dialogues into tokens, generating."""
