"""Groups of options that several commands share: tables, checks, and the JSON they become (contract 1.7-1.12)."""
