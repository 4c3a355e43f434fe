"""Pipelines from files: each dialect of YAML is a module here, and all of them end in `flows.model.steps.Pipeline`."""

from flows.loaders.builder import PipelineBuilder, parallel, pipeline
from flows.loaders.dump import dump_pipeline, pipeline_data
from flows.loaders.foreign import UNREADABLE
from flows.loaders.native import LoadedPipeline, load_pipeline, load_pipeline_text
from flows.loaders.places import SourceMap
from flows.loaders.positions import Node, Position, read_yaml
from flows.loaders.schema import pipeline_schema

__all__ = [
    "UNREADABLE",
    "LoadedPipeline",
    "Node",
    "PipelineBuilder",
    "Position",
    "SourceMap",
    "dump_pipeline",
    "load_pipeline",
    "load_pipeline_text",
    "parallel",
    "pipeline",
    "pipeline_data",
    "pipeline_schema",
    "read_yaml",
]
