"""What members do at home in a round: one file for each method, with its source.

The server's side of a method, how the next model follows from the mean, is in `learning/steps.py`:
FedAvg, FedAdam, FedYogi, FedAdagrad, Momentum, Nesterov. Heads of one's own and FedBN need no file:
they are tensors that say `own=True` (`learning/tensors.py`). What crosses a member's border does so
in the secure sum; a method that needs more than sums is not here. docs/methods.md: which, and when.
"""
