"""The files of `deploy/`: whatever they name is there. No container is started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import make_url

from gac_app.config import ServerConfig
from gac_app.config_file import load_config
from gac_app.environment import environment_overrides
from gac_app.server.host import bare_host
from tests.command_line import config_file, members_file, run_command
from tests.server.fakes import FakeService
from tests.server.site import served

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
ENV = {"POSTGRES_PASSWORD": "p" * 48, "VLLM_API_KEY": "k" * 48}
DOCUMENTED = set(re.findall(r"GAC_[A-Z_]+", (ROOT / "docs" / "configuration.md").read_text()))


def build_args() -> set[str]:
    return set(re.findall(r"^ARG (\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE))


def check_packages(wanted: str) -> None:
    """Each is pinned, so the image has the version that was tested."""
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert {name.partition("[")[0] for name in wanted.split()} <= set(pinned)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    def filled(variable: re.Match[str]) -> str:
        return ENV[variable[1]]  # as compose does, which refuses a missing one

    text = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"printf '(\w+)=%s\\n(\w+)=", text)[0]) == ENV.keys(), "its head says how to make them"
    found: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+):\?[^}]*\}", filled, text))
    return found


def test_compose_names_nothing_that_is_not_there(compose: dict[str, Any]) -> None:
    assert compose.keys() == {"name", "services", "volumes"}
    services = compose["services"]
    for name, service in services.items():
        assert service.keys() <= {
            *("build", "image", "command", "environment", "volumes", "ports", "depends_on", "restart"),
            *("healthcheck", "ipc", "deploy"),
        }, name
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[other]
    page = services["page"]
    assert (DEPLOY / page["build"]["context"]).resolve() == ROOT
    assert page["build"]["args"].keys() <= build_args()
    check_packages(page["build"]["args"]["PACKAGES"])
    port = re.search(r"^EXPOSE (\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert port
    assert page["ports"] == [f"127.0.0.1:7860:{port[1]}"]


@pytest.mark.process
@pytest.mark.parametrize("variable", ["GAC_PORT", "GRADIO_SERVER_PORT", "PORT"])
def test_the_container_is_asked_where_it_listens(variable: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("raise SystemExit('a check has no time for plug-ins')")
    config = members_file(tmp_path, "plugins: [slow.py]\n")
    [check] = re.findall(r"HEALTHCHECK .*\n +CMD (.+)", (ROOT / "Dockerfile").read_text())
    command = [sys.executable, *json.loads(check)[1:]]
    with served(bare_host(FakeService(), ServerConfig())) as url:  # type: ignore[arg-type]
        port = url.rpartition(":")[2]
        subprocess.run(command, cwd=ROOT, env=os.environ | {variable: port, "GAC_CONFIG": str(config)}, check=True)


def test_the_composed_page_finds_database_and_members(compose: dict[str, Any]) -> None:
    services, environment = compose["services"], compose["services"]["page"]["environment"]
    assert {name for name in environment if name.startswith("GAC_")} <= DOCUMENTED
    url, database = make_url(environment["GAC_DATABASE_URL"]), services["database"]["environment"]
    assert (url.drivername, url.host, url.port) == ("postgresql+psycopg", "database", None)
    given = [database[f"POSTGRES_{of}"] for of in ("USER", "DB", "PASSWORD")]
    assert [url.username, url.database, url.password] == given
    probe = " ".join(services["database"]["healthcheck"]["test"])
    assert "--host 127.0.0.1" in probe, "the socket answers while the image still makes the database"
    [mounted] = [v.split(":")[0] for v in services["page"]["volumes"] if v.split(":")[1] == environment["GAC_CONFIG"]]
    config = load_config(DEPLOY / mounted, environment_overrides(environment), {})
    assert len(config.members) == 2
    gpus = []
    for member in config.members:
        assert member.server
        host, _, port = member.server.url.removeprefix("http://").partition(":")
        engine = services[host]
        assert (member.server.api, port) == ("vllm", "8000")
        assert member.server.api_key_env in environment.keys() & engine["environment"].keys()
        assert environment[member.server.api_key_env] == engine["environment"]["VLLM_API_KEY"]
        model, *options = engine["command"]
        assert member.source == f"hub:{model}"
        given = dict(zip(options[::2], options[1::2], strict=True))
        assert given == {"--max-model-len": str(member.context_length), "--max-logprobs": "-1"}
        gpus += [gpu for one in engine["deploy"]["resources"]["reservations"]["devices"] for gpu in one["device_ids"]]
    assert gpus == ["0", "1"]


@pytest.fixture(scope="module")
def kuberay() -> dict[str, Any]:
    text = (DEPLOY / "kuberay.yaml").read_text()
    check_packages(re.findall(r"PACKAGES='([^']+)'", text)[0])
    assert set(re.findall(r"--build-arg (\w+)=", text)) <= build_args()
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def test_the_ray_cluster_has_room_for_its_members(kuberay: dict[str, Any], tmp_path: Path) -> None:
    config = load_config(config_file(tmp_path, kuberay["ConfigMap"]["data"]["config.yaml"]), {}, {})
    spec = kuberay["RayCluster"]["spec"]
    [group] = spec["workerGroupSpecs"]
    assert group["replicas"] >= len(config.members), config.ray.strategy  # one on each
    [worker] = group["template"]["spec"]["containers"]
    limits = worker["resources"]["limits"]
    for member in config.members:
        assert member.ray
        assert member.ray.num_gpus <= float(limits["nvidia.com/gpu"])
        assert member.ray.num_cpus <= float(limits["cpu"])
        assert not member.ray.resources
    assert spec["headGroupSpec"]["rayStartParams"]["num-gpus"] == "0"
    pinned = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert spec["rayVersion"] == pinned[1]
    assert spec["authOptions"] == {"mode": "token"}


def test_the_pods_start_what_there_is(kuberay: dict[str, Any]) -> None:
    spec, service = kuberay["RayCluster"]["spec"], kuberay["Service"]["spec"]
    assert kuberay["RayCluster"]["metadata"]["annotations"] == {"ray.io/overwrite-container-cmd": "true"}
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    images = set()
    for group in groups:
        [container] = group["template"]["spec"]["containers"]
        images.add(container["image"])
        assert container["command"] == ["/bin/bash", "-c"]
        assert "$KUBERAY_GEN_RAY_START_CMD" in container["args"][0]
        assert {"readinessProbe", "livenessProbe"} <= container.keys(), "KubeRay's own want wget"
        names = {one["name"] for one in container["env"]}
        assert {name for name in names if name.startswith("GAC_")} <= DOCUMENTED
        assert names >= {"RAY_USAGE_STATS_ENABLED"}
    assert len(images) == 1, "the same Python, Ray and program on every node"
    [head] = spec["headGroupSpec"]["template"]["spec"]["containers"]
    probe = head["readinessProbe"]["httpGet"]
    named = {header["name"]: header["value"] for header in probe["httpHeaders"]}
    with served(bare_host(FakeService(), ServerConfig())) as url:  # type: ignore[arg-type]
        assert httpx.get(f"{url}{probe['path']}", headers={"Host": "10.244.1.7", **named}).is_success
    [volume] = spec["headGroupSpec"]["template"]["spec"]["volumes"]
    [mount] = head["volumeMounts"]
    command = head["args"][0].splitlines()[-1].split()
    assert command[:5] == ["exec", "python", "-m", "gac_app", "serve"]
    told = run_command("serve", "--help").stdout
    assert all(option in told for option in command[5:] if option.startswith("--"))
    given = dict(zip(command[5::2], command[6::2], strict=True))
    assert given["--config"] == f"{mount['mountPath']}/config.yaml"
    assert (volume["name"], volume["configMap"]["name"]) == (mount["name"], kuberay["ConfigMap"]["metadata"]["name"])
    cluster = kuberay["RayCluster"]["metadata"]["name"]
    assert service["selector"] == {"ray.io/cluster": cluster, "ray.io/node-type": "head"}
    assert service["ports"][0]["targetPort"] in {port["containerPort"] for port in head["ports"]}
    linked = f"{kuberay['Service']['metadata']['name'].upper()}_PORT"  # of which Kubernetes tells each pod
    assert environment_overrides({linked: "tcp://10.96.0.12:7860", "PORT": "80"}) == {"server": {"port": 80}}
