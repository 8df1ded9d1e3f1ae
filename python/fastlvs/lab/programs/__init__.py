"""Programs that run inside the lab's namespaces: one file each, standard library alone.

They are started by their path with ``python -I -S``, which takes a hundredth of a second; they do not import
the package, whose NumPy would take ten times as long.
"""
