"""What `import comity` offers, in plain types: studies, simulations, nodes, tables and charts.

The same functions as behind the commands, so the same bits. Nothing here prints. Public names are
those that `comity/__init__.py` lists.
"""
