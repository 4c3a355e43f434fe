"""An ingestion in several deployment runs."""
