"""Tables in; pages out."""
