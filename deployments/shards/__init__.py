"""An ingestion in several deployment runs.

Nothing is re-exported: these modules import Prefect, which takes seconds. Import the one you need, where you need it.
"""

__all__: list[str] = []
