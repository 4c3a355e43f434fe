"""The steps of pipelines: ingestion, retrieval, data, content and jobs, with the models and stores that they use."""

__all__: list[str] = []
