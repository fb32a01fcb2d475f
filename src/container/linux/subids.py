"""Subordinate ids (subuid(5)): what an ordinary user's containers own on the host, as he can reach it."""

# Prefix of a command (unshare(1)): it runs in a user namespace with the map of the user's containers, as their root.
AS_OWNERS = ("unshare", "--map-root-user", "--map-auto", "--")
