"""From rows to tables: means with intervals, the gate, residuals, matrices, comparisons. Rows in, plain tables out."""
