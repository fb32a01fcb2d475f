"""The contract between processes: one file per varlink interface, with its client."""
