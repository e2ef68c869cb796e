"""Studies: a configuration, the cells it asks for, their execution, and the rows on disk."""
