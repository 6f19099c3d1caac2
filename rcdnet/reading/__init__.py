"""A scan in, a call and its maps out."""
