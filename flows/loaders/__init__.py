"""Pipelines from files and Python: each dialect of YAML is a module here, and all end in `flows.model.Pipeline`."""

from flows.loaders.builder import PipelineBuilder, parallel, pipeline
from flows.loaders.dialect_schema import DIALECT_NAMES, dialect_schema
from flows.loaders.dump import dump_pipeline, pack_pipeline, pipeline_data
from flows.loaders.foreign import UNREADABLE
from flows.loaders.handler_schema import add_handlers
from flows.loaders.native import LoadedPipeline, load_pipeline, load_pipeline_text, loaded_from
from flows.loaders.schema import pipeline_schema
from flows.loaders.templates import TEMPLATES
from flows.loaders.yaml_nodes import Position, YamlNode, read_yaml
from flows.loaders.yaml_steps import StepPositions

__all__ = [
    "DIALECT_NAMES",
    "TEMPLATES",
    "UNREADABLE",
    "LoadedPipeline",
    "PipelineBuilder",
    "Position",
    "StepPositions",
    "YamlNode",
    "add_handlers",
    "dialect_schema",
    "dump_pipeline",
    "load_pipeline",
    "load_pipeline_text",
    "loaded_from",
    "pack_pipeline",
    "parallel",
    "pipeline",
    "pipeline_data",
    "pipeline_schema",
    "read_yaml",
]
