"""Take requests and events as they come, and turn them into jobs at once."""
