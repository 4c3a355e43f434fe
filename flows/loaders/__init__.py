"""Pipelines from files and Python: each dialect of YAML is a module here, and all end in `flows.model.Pipeline`."""

from flows.loaders.dump import dump_pipeline, pipeline_data
from flows.loaders.foreign import UNREADABLE
from flows.loaders.native import LoadedPipeline, load_pipeline, load_pipeline_text
from flows.loaders.schema import pipeline_schema
from flows.loaders.yaml_nodes import Position, YamlNode, read_yaml

__all__ = [
    "UNREADABLE",
    "LoadedPipeline",
    "Position",
    "YamlNode",
    "dump_pipeline",
    "load_pipeline",
    "load_pipeline_text",
    "pipeline_data",
    "pipeline_schema",
    "read_yaml",
]
