"""Reading an upload: bytes in, one grey scan out, and how a network sees it."""
