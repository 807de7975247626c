"""Tables in; estimates out, every number that the report prints."""
