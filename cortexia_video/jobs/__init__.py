"""One file per thing the command line does to a folder; here are what the jobs return, and point clouds.

Doors: `align`, `aligner`, `check_model`, `convert`, `estimate`, `export`, `fuse`, `input_sample`, `inspect`,
`outcomes`, `plan`, `point_clouds`, `ray_cluster`, `status`, `verify`, `worker`.
"""

from typing import TYPE_CHECKING

from cortexia_video.runtime.lazy_names import load_lazily

if TYPE_CHECKING:
    from cortexia_video.jobs.export import Export
    from cortexia_video.jobs.inspect import FolderInspection, Inspection
    from cortexia_video.jobs.outcomes import Report
    from cortexia_video.jobs.plan import FormatCost, Plan
    from cortexia_video.jobs.point_clouds import CloudOptions, make_point_cloud, make_point_clouds
    from cortexia_video.jobs.status import Status
    from cortexia_video.jobs.verify import Verification
    from cortexia_video.reporting.job import FolderReport

__all__ = [
    "CloudOptions",
    "Export",
    "FolderInspection",
    "FolderReport",
    "FormatCost",
    "Inspection",
    "Plan",
    "Report",
    "Status",
    "Verification",
    "make_point_cloud",
    "make_point_clouds",
]

_HOMES = {
    "jobs.export": ("Export",),
    "jobs.inspect": (
        "FolderInspection",
        "Inspection",
    ),
    "jobs.outcomes": ("Report",),
    "jobs.plan": (
        "FormatCost",
        "Plan",
    ),
    "jobs.point_clouds": (
        "CloudOptions",
        "make_point_cloud",
        "make_point_clouds",
    ),
    "jobs.status": ("Status",),
    "jobs.verify": ("Verification",),
    "reporting.job": ("FolderReport",),
}
__getattr__, __dir__ = load_lazily(__name__, _HOMES)
