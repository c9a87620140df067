"""What must survive: builds, the queue, events to deliver, cursors. One SQLite file, one writer at a time."""
