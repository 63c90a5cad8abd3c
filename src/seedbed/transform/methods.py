"""Names of the ways to prune and to merge models, apart from the code so that help pages need no PyTorch."""

from typing import Literal

Sparsity = Literal["magnitude", "2:4", "wanda"]
"""Single weights are set to zero."""
Cut = Literal["heads", "layers", "width"]
"""The shape becomes smaller."""
PruneMethod = Literal[Sparsity, Cut]
MergeMethod = Literal["linear", "slerp", "task"]
