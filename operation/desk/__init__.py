"""Pages for officers: a process of their own reads the event log and renders HTML, so that scoring never waits for a page."""
