"""The mesh: ranks on named axes, and the process groups along them.

Where a rank stands is arithmetic without torch, so the notebook's kernel and the planner share it.
"""

from lab_utils.strategies.mesh.mesh import AXES, Mesh

__all__ = ["AXES", "Mesh"]
