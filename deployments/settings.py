"""Settings: all `BRAID_…` environment variables; each has a default."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, PositiveFloat, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from deployments.setting_values import (
    InvalidSettings,
    index_name,
    read_budget,
    read_list,
    read_table,
    with_index_placeholder,
)
from flows.author import read_prices
from flows.model import Resource
from flows.storage import StorageOptions

PREFIX = "BRAID_"
WORK_POOL = "braid"
"""The default work pool on the Prefect server."""
SERVE_PORT = 4210
"""The default port of `braid serve`."""
PIPELINES = Path(__file__).parent / "pipelines"
"""The folder of Braid's own pipelines."""


class Settings(BaseSettings):
    """The settings of a process; by default, everything is kept in `.braid` in the working directory."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(default=Path(".braid"), description="Folder of the run store, the indexes and the artifacts.")
    database_url: str | None = Field(
        default=None, repr=False, description="Run store, any SQLAlchemy URL; default: HOME/runs.db."
    )
    run_store_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Secret that signs kept results, for machines that share a run store; default: HOME/run-store.key.",
    )
    index_url: Annotated[str | None, AfterValidator(with_index_placeholder)] = Field(
        default=None,
        repr=False,
        description="Where indexes are: postgresql://USER:PASSWORD@HOST/DATABASE, or SQLite files with {index} for the "
        "name; default: HOME/indexes/{index}.db.",
    )
    keep_results_days: float = Field(
        default=7.0, ge=0.0, description="Days for which finished steps are kept, so that a run can be resumed."
    )
    stuck_after_s: PositiveFloat | None = Field(
        default=None,
        description="Time without progress after which a step is reported as stuck; default: from earlier runs.",
    )
    artifacts_url: str | None = Field(
        default=None, description="Folder or s3:// prefix for images and other files; default: HOME/artifacts."
    )
    judged: Path | None = Field(
        default=None,
        description="Folder of judged questions: INDEX/queries.* and INDEX/qrels.*, as for `braid evaluate`. A "
        "version of that index that answers them worse does not come into use; default: HOME/judged.",
    )
    max_workers: int | None = Field(
        default=None,
        ge=1,
        validation_alias=AliasChoices("BRAID_MAX_WORKERS", "LORCHESTRA_MAX_WORKERS"),
        description="The most steps at once, as --max-workers.",
    )
    task_runner: Literal["threads", "dask", "ray"] | None = Field(
        default=None, description="Where sync handlers run, as --task-runner; see docs/scale.md."
    )
    dask_address: str | None = Field(
        default=None, description="Scheduler of a Dask cluster, tcp://host:8786; default: a run starts one of its own."
    )
    ray_address: str | None = Field(
        default=None, description="A Ray cluster, host:6379 or auto; default: a run starts one of its own."
    )
    prices: Annotated[dict[str, dict[str, dict[str, float]]] | None, NoDecode] = Field(
        default=None, description="Price table: JSON, or a file (.json, .yaml); see docs/cost.md."
    )
    budget: Annotated[dict[str, PositiveFloat], NoDecode] = Field(
        default_factory=dict, description="Budget of a run, as --budget: usd=5,tokens=100000,seconds=3600."
    )
    resources: Annotated[dict[str, Resource], NoDecode] = Field(
        default_factory=dict,
        description="Named limits of all runs: JSON, or a file (.json, .yaml); see docs/limits.md.",
    )
    handler_modules: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Modules with handlers of your own, separated by commas."
    )
    pipelines_dirs: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description=f"Folders with pipelines of your own, separated by {os.pathsep!r} or commas."
    )
    project: str | None = Field(
        default=None,
        pattern=r"[a-z0-9][a-z0-9_-]*",
        description="Name of this project on a Prefect server that several projects share; default: its folder.",
    )
    notify: str | None = Field(
        default=None,
        pattern=r"[a-z0-9-]+/[a-z0-9-]+",
        description="Notification block of Prefect, TYPE/NAME, for the ends of runs; see docs/notifications.md.",
    )
    schedules: Path | None = Field(
        default=None, description="File with the schedules of deployments; default: deployments/schedules.yaml."
    )

    sources: Path | None = Field(
        default=None, description="File with the sources that have names; default: deployments/sources.yaml."
    )
    other_storage: Annotated[dict[str, dict[str, Any]], NoDecode] = Field(
        default_factory=dict[str, dict[str, Any]],
        repr=False,
        description='Options of fsspec by scheme, JSON or file: {"sftp": {"username": "me", "password": "env:SFTP"}}.',
    )

    s3_endpoint_url: str | None = Field(default=None, description="URL of an S3-compatible server other than AWS.")
    s3_key: str | None = Field(default=None, repr=False, description="Access key; default: as AWS tools find it.")
    s3_secret: SecretStr | None = Field(default=None, description="Secret key; default: as AWS tools find it.")
    s3_region: str | None = Field(default=None, description="Region; default: as AWS tools find it.")
    s3_anonymous: bool = Field(default=False, description="Read public buckets without credentials.")

    connections: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict[str, SecretStr],
        description='Databases that queries name: {"sales": "postgresql+psycopg://…"}, or references as env:SALES_URL.',
    )
    rest_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Hosts that REST queries may reach, separated by commas, for example *.example.com."
    )
    rest_private_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Hosts that REST queries may reach although their addresses are private."
    )
    skills_dirs: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description=f"Folders with skills (*.md), separated by {os.pathsep!r} or commas."
    )

    embedding_model: str | None = Field(
        default=None, description="Name of the embedding model; default: the bundled one."
    )
    model_dir: Path | None = Field(default=None, description="Folder of model files instead of the bundled ones.")
    openai_base_url: str | None = Field(
        default=None,
        description="An OpenAI-compatible endpoint, for CHAT_MODEL and an EMBEDDING_MODEL not bundled.",
    )
    openai_api_key: SecretStr | None = Field(default=None, description="The key of that endpoint.")
    chat_model: str | None = Field(
        default=None, description="The endpoint's language model, for `braid ask` and skills that name none."
    )

    serve_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names by which `braid serve` is reached, separated by commas: braid.example.com."
    )
    serve_rate: int = Field(
        default=600, ge=0, description="Calls per minute that `braid serve` accepts from one caller; 0: no limit."
    )
    serve_upload_mb: float = Field(
        default=50.0, ge=0.0, description="The largest file that may be uploaded to `braid serve`; 0: none."
    )
    uploads_url: str | None = Field(
        default=None, description="Folder or s3:// prefix for uploaded files; default: HOME/uploads."
    )
    serve_timeout_s: PositiveFloat = Field(
        default=60.0, description="Time after which `braid serve` gives up a search and reports an error."
    )
    token: SecretStr | None = Field(
        default=None,
        description="The token of `braid mcp` and `connect`; default: the rights of this machine's user.",
    )
    tokens: Path | None = Field(
        default=None, description="File of the tokens for `braid serve`; default: HOME/tokens.json."
    )
    parser_cpu_s: PositiveFloat = Field(
        default=60.0,
        description="CPU time that a parser may use for a document, or to recognise one page of it; if it needs more, "
        "the document is set aside.",
    )
    parser_memory_mb: int = Field(
        default=2000,
        ge=100,
        description="Memory in MB that a parser may use for a document; if it needs more, the document is set aside. "
        "Less in a container with little memory.",
    )
    ocr_engine: Literal["auto", "rapidocr", "tesseract", "none"] = Field(
        default="auto",
        description="The engine that recognises the text of scans and pictures; auto: the best one installed.",
    )
    ocr_min_confidence: float = Field(
        default=0.6, ge=0, le=1, description="Confidence below which a recognised page is set aside."
    )
    ocr_languages: str = Field(default="eng", description="Languages for tesseract, as eng+deu.")
    commands: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Programs that jobs may run, by name or whole path, separated by commas."
    )
    content_provider: Literal["offline", "openai"] = Field(
        default="offline",
        description="The provider of speech and pictures: this machine, or the endpoint at OPENAI_BASE_URL.",
    )
    content_models: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict[str, str],
        description='Names that models have at the endpoint: {"elevenlabs": "tts-1", "flux": "gpt-image-1"}.',
    )

    @field_validator("prices", mode="before")
    @classmethod
    def _prices(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = read_table(value)
        return read_prices(value).table if value is not None else None

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, value: Any) -> Any:
        return read_budget(read_list(value, ",")) if isinstance(value, str) else value

    @field_validator("resources", "content_models", "other_storage", mode="before")
    @classmethod
    def _tables(cls, value: Any) -> Any:
        return read_table(value) if isinstance(value, str) else value

    @field_validator("handler_modules", "commands", "rest_hosts", "rest_private_hosts", "serve_hosts", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return read_list(value, ",")

    @field_validator("pipelines_dirs", "skills_dirs", mode="before")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        return read_list(value, f"{re.escape(os.pathsep)},")

    @field_validator("connections", mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:  # pydantic's message would include the text, and passwords in it
            raise ValueError('must be a JSON mapping from name to URL: {"sales": "sqlite:///sales.db"}') from None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret values, which must never be shown; in URLs, only the passwords are secret."""
        found = (self.s3_secret, self.openai_api_key, self.run_store_key, *self.connections.values())
        urls = (self.database_url, self.index_url, self.openai_base_url, self.artifacts_url)
        return (*(one.get_secret_value() for one in found if one is not None), *(url for url in urls if url))

    @property
    def run_store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home.absolute() / 'runs.db'}"

    def index_location(self, name: str) -> str:
        """The URL of an index.

        Raises:
            InvalidSettings: the name is not allowed for an index.
        """
        return self.index_template.replace("{index}", index_name(name))

    @property
    def index_template(self) -> str:
        """The URL of every index, with `{index}` for its name."""
        return self.index_url or f"sqlite:///{self.home.absolute() / 'indexes'}/{{index}}.db"

    @property
    def artifacts_root(self) -> str:
        """The folder or prefix below which every index has its artifacts."""
        return (self.artifacts_url or str(self.home.absolute() / "artifacts")).rstrip("/")

    @property
    def uploads_root(self) -> str:
        """The folder or prefix below which every index has its uploaded files."""
        return (self.uploads_url or str(self.home.absolute() / "uploads")).rstrip("/")

    @property
    def judged_folder(self) -> Path:
        return self.judged or self.home.absolute() / "judged"

    @property
    def tokens_file(self) -> Path:
        return self.tokens or self.home.absolute() / "tokens.json"

    @property
    def storage_options(self) -> StorageOptions:
        return StorageOptions(
            s3_endpoint_url=self.s3_endpoint_url,
            s3_key=self.s3_key,
            s3_secret=self.s3_secret.get_secret_value() if self.s3_secret else None,
            s3_region=self.s3_region,
            s3_anonymous=self.s3_anonymous,
            by_scheme=self.other_storage,
        )

    @property
    def max_workers_origin(self) -> str:
        """The variable that set `max_workers`."""
        upper = {name.upper() for name in os.environ}
        return "BRAID_MAX_WORKERS" if "BRAID_MAX_WORKERS" in upper else "LORCHESTRA_MAX_WORKERS"


def load_settings() -> Settings:
    """The settings in the environment.

    Raises:
        InvalidSettings: every variable that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        lines = [
            f"{_variable(error['loc'])}: {_inside(error['loc'])}{error['msg']}"
            for error in invalid.errors(include_url=False)
        ]
        raise InvalidSettings("\n".join(lines)) from invalid


def misspelt_variables(environment: Mapping[str, str] | None = None) -> list[tuple[str, str | None]]:
    """`BRAID_…` variables without effect, each with the nearest valid name."""
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    found = [name for name in (environment if environment is not None else os.environ) if name.startswith(PREFIX)]
    return [
        (name, next(iter(get_close_matches(name, known, n=1)), None)) for name in sorted(found) if name not in known
    ]


def _variable(location: Iterable[int | str]) -> str:
    name = str(next(iter(location), ""))
    return name if name.isupper() else f"{PREFIX}{name.upper()}"


def _inside(location: tuple[int | str, ...]) -> str:
    """The keys of a value inside a table."""
    return f"{'.'.join(map(str, location[1:]))}: " if len(location) > 1 else ""
