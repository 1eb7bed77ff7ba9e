"""The geometry of representations: what is measured of a probe set, and maps that can be laid over each other.

`load_probe(run)` reads the probe of a run directory: `.series("separability")` gives a measure over the steps, `.pca()`
and `.tsne()` place its rollouts in the plane, in the same one at every step. `project` does so for the rollouts of
training.
"""

from mcpo_rl.analysis.geometry.maps import ProbeMap, pca_map, tsne_map
from mcpo_rl.analysis.geometry.measures import measure
from mcpo_rl.analysis.geometry.probe import PlacedProbe, ProbeGeometry, load_probe, record_geometry
from mcpo_rl.analysis.geometry.projection import Projection, Space, principal_axes, project
from mcpo_rl.analysis.geometry.rows import ProbeRows

__all__ = [
    "PlacedProbe",
    "ProbeGeometry",
    "ProbeMap",
    "ProbeRows",
    "Projection",
    "Space",
    "load_probe",
    "measure",
    "pca_map",
    "principal_axes",
    "project",
    "record_geometry",
    "tsne_map",
]
