"""Random queries over tables whose rows are known: every kind of condition, value, projection, aggregate and join.

A query must have one answer only, whoever computes it: LIMIT stands behind an ORDER BY that leaves no ties, sums are of
exact numbers, and nothing can fail for some rows and not for others, since a server that filters spares them. Values are
drawn from the rows, and changed a little.
"""

from .queries import Generator
from .rows import Node, Table, kind_of, name, quoted

__all__ = ["Generator", "Node", "Table", "kind_of", "name", "quoted"]
