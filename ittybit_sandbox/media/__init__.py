"""Real work on media: fetching, looking, encoding and storing."""
