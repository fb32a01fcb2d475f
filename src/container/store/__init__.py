"""Files and records on disk: atomic replacement, locks between processes, one JSON record per entity."""
