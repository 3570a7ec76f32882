"""The one door to the host's files: directories, identities, open handles."""
