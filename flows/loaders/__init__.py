"""Pipelines from files: each dialect of YAML is a module here, and all of them end in `flows.model.steps.Pipeline`."""

from flows.loaders.dump import dump_pipeline
from flows.loaders.native import LoadedPipeline, load_pipeline, load_pipeline_text
from flows.loaders.places import SourceMap
from flows.loaders.schema import pipeline_schema

__all__ = ["LoadedPipeline", "SourceMap", "dump_pipeline", "load_pipeline", "load_pipeline_text", "pipeline_schema"]
