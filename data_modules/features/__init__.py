"""From linked events to arrays, documents and image indexes on disk."""
