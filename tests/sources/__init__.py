"""Sources: listings, manifests, cursors."""
