"""Studies behind figures in docs, each repeatable. No room of the product imports this one."""
