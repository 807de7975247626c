"""Shows the candidates of a run to a reader in the browser, and stores the reader's decisions."""
