"""Questions answered once, and the code that answers them again; left out of the wheel."""
