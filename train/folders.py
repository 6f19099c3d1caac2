"""Where the app keeps its own things."""

from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
RUNS_FOLDER = HOME / "runs"
BUNDLED = "bundled-"  # begins the name of the folder below runs/ with the external tests of a bundled model
RESULTS_FOLDER = HOME / "assets" / "results"  # the records behind the figures of the bundled models
