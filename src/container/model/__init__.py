"""The nouns of this system: frozen dataclasses that do no I/O."""
