"""What infra/ promises, as far as it shows without an engine: files parse, and hold what docs/operations.md says."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
INFRA = ROOT / "infra"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (INFRA / "requirements.txt").read_text()


def locked() -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package of the lock."""
    found = {}
    for entry in re.split(r"\n(?=[a-zA-Z0-9])", LOCK):
        if pinned := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", entry):
            found[canonicalize_name(pinned[1])] = (pinned[2], re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry))
    return found


def extras() -> list[str]:
    """The extras that the command in the lock's header names."""
    header = LOCK[: LOCK.index("\n\n")] if "\n\n" in LOCK else "".join(re.findall(r"^#.*\n", LOCK, re.MULTILINE))
    return re.findall(r"--extra (\w+)", header)


@cache
def composed() -> dict[str, dict[str, Any]]:
    """The services of compose.yaml."""
    services: dict[str, dict[str, Any]] = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    return services


def manifests(name: str) -> list[dict[str, Any]]:
    """The objects of a file for Kubernetes."""
    return list(yaml.safe_load_all((INFRA / "kubernetes" / name).read_text()))


def pods() -> dict[str, dict[str, Any]]:
    """Every pod that the manifests start, by the name of its container."""
    found = {}
    for name in ("worker.yaml", "raycluster.yaml"):
        for one in manifests(name):
            spec = one.get("spec", {})
            templates = [spec["template"]] if "template" in spec else []
            templates += [spec["headGroupSpec"]["template"]] if "headGroupSpec" in spec else []
            templates += [group["template"] for group in spec.get("workerGroupSpecs", [])]
            for template in templates:
                found[template["spec"]["containers"][0]["name"]] = template["spec"]
    return found


def test_the_lock_holds_what_the_project_asks_for() -> None:
    """Each dependency of the core and of every extra that a run may need, in a version that pyproject.toml allows."""
    optional = PROJECT["project"]["optional-dependencies"]
    needed = set(optional) - {"dev", "extractor"}  # for those who work on curate, and for training the engine `blocks`
    assert set(extras()) == needed
    asked = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    asked += [Requirement(text) for extra in needed for text in optional[extra]]
    asked += [Requirement(text) for text in PROJECT["build-system"]["requires"]]
    assert len(asked) >= 30
    versions = locked()
    wrong = [
        f"{one}, locked: {versions.get(canonicalize_name(one.name), ('none',))[0]}"
        for one in asked
        if not one.specifier.contains(versions.get(canonicalize_name(one.name), ("0.dev0",))[0])
    ]
    assert not wrong


def test_the_lock_is_whole() -> None:
    """What its packages need is in it too, as far as they are installed here; so pip may be told --no-deps."""
    versions, missing, looked_at = locked(), [], 0
    for name, (version, _) in versions.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution.version != version:
            continue
        looked_at += 1
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker and not needed.marker.evaluate({"extra": "", "python_version": "3.11"}):
                continue
            have = versions.get(canonicalize_name(needed.name), ("",))[0]
            if not have or not needed.specifier.contains(have, prereleases=True):
                missing.append(f"{name} needs {needed}, locked: {have or 'none'}")
    if looked_at == 0:
        pytest.skip("no package is installed in the version of the lock")
    assert not missing


def test_every_package_is_locked_by_hash_and_no_index_is_named() -> None:
    """Where packages come from is whose machine it is to say; what they are is not."""
    versions = locked()
    assert len(versions) >= 100
    assert [name for name, (_, hashes) in versions.items() if not hashes] == []
    assert len(re.findall(r"^[A-Za-z0-9][^\n]*==", LOCK, re.MULTILINE)) == len(versions)
    assert re.findall(r"^-.*|.*(?:://|index-url=|find-links|trusted-host).*", LOCK, re.MULTILINE) == []


def test_the_image_is_small_and_runs_as_nobody_special() -> None:
    """Two stages from one pinned image, packages by hash, a user of its own; no secret, nothing fetched by hand."""
    text = (INFRA / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line.strip()]
    bases = [rest.split()[0] for step, rest in steps if step == "FROM"]
    assert len(bases) == 2
    assert set(bases) == {bases[0]}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases[0])
    last = max(number for number, (step, _) in enumerate(steps) if step == "FROM")
    final = steps[last:]
    assert [rest for step, rest in final if step == "USER"] == ["10001:10001"]
    assert [rest for step, rest in final if step == "COPY"] == ["--from=build /opt/curate /opt/curate"]
    assert all("pip" not in rest for step, rest in final if step == "RUN")
    building = [rest for step, rest in steps[:last] if step in ("RUN", "COPY")]
    assert any("infra/requirements.txt" in rest for rest in building)
    installing = [rest for rest in building if "pip install" in rest]
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installing)
    assert len(installing) == 2
    assert not [rest for step, rest in steps if step == "ADD" or "curl" in rest or "wget" in rest or ":latest" in rest]
    assert not re.search(r"(?i)(password|secret|token)=", text)


def test_what_the_image_copies_is_let_through_and_there() -> None:
    """.dockerignore keeps all else out of the context; a package that the wheel has is copied."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (INFRA / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    let_through = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(names) == sorted(let_through)
    assert all((ROOT / name).exists() for name in names)
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(names)


def test_compose_starts_server_database_storage_and_worker() -> None:
    """Each pinned, bounded, without rights it does not need; only the server is reachable, and from here alone."""
    services = composed()
    assert set(services) == {"postgres", "server", "s3", "deploy", "worker"}
    for name, service in services.items():
        assert re.search(r":\d+(\.\d+)+(-\w+)?$", service["image"]), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["mem_limit"], name
        assert service["cpus"], name
        assert name == "postgres" or service["cap_drop"] == ["ALL"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service.get("user", "10001:10001") == "10001:10001", name
        assert not service.get("privileged"), name
    assert [name for name, service in services.items() if "ports" in service] == ["server"]
    assert "postgresql+asyncpg://" in services["server"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert services["worker"]["depends_on"] == {"deploy": {"condition": "service_completed_successfully"}}
    assert "${POSTGRES_PASSWORD:?" in services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    built = {service["image"] for service in services.values() if "build" in service}
    assert built == {f"curate:{PROJECT['project']['version']}"}


def test_the_pieces_of_compose_are_the_versions_that_are_tested() -> None:
    """Moto, the S3 server of the tests, is the one they ran with."""
    assert composed()["s3"]["image"] == "motoserver/moto:5.2.5"
    assert importlib.metadata.version("moto") == "5.2.5"


@pytest.mark.parametrize("name", ["worker", "ray-head", "ray-worker"])
def test_pods_are_bounded_and_have_no_rights(name: str) -> None:
    """No root, no capabilities, no token of the cluster's; requests and limits; a pinned image."""
    assert set(pods()) == {"worker", "ray-head", "ray-worker"}
    pod = pods()[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "curate-writer"
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for bound in ("requests", "limits"):
        assert {"cpu", "memory"} <= set(container["resources"][bound])
    assert container["image"].endswith(f"/curate:{PROJECT['project']['version']}")
    assert "livenessProbe" in container
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_the_ray_cluster_is_of_the_version_in_the_image_and_closed() -> None:
    """Ray runs what it is sent, so only pods of the cluster, workers and the operator may send anything."""
    cluster, policy = manifests("raycluster.yaml")
    assert cluster["spec"]["rayVersion"] == locked()["ray"][0]
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    labels = policy["spec"]["podSelector"]["matchLabels"]
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    assert all(group["template"]["metadata"]["labels"].items() >= labels.items() for group in groups)
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    namespaces = {
        one["metadata"].get("namespace") for one in (*manifests("raycluster.yaml"), *manifests("worker.yaml"))
    }
    assert namespaces <= {"curate", None}


def terraform(folder: Path, *arguments: str) -> str:
    """What a `terraform` command prints; it must succeed, and asks nobody anything."""
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not installed")
    quiet = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    done = subprocess.run([program, f"-chdir={folder}", *arguments], env={**os.environ, **quiet}, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_terraform_is_formatted() -> None:
    """As `terraform fmt` writes it, which also says that it parses."""
    assert terraform(INFRA / "terraform", "fmt", "-check", "-recursive") == ""


def test_the_bucket_is_private_encrypted_versioned_and_cleaned() -> None:
    """What docs/operations.md says of it; `terraform validate` would say more, with a provider, which is a download."""
    text = (INFRA / "terraform" / "main.tf").read_text()
    for promised in (
        "block_public_acls       = true", "block_public_policy     = true", "ignore_public_acls      = true",
        "restrict_public_buckets = true", 'status = "Enabled"', 'sse_algorithm = "aws:kms"',
        "abort_incomplete_multipart_upload", "noncurrent_version_expiration", '"BucketOwnerEnforced"',
    ):  # fmt: skip
        assert promised in text, promised
    declared = set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    policies = (INFRA / "terraform" / "policies" / "main.tf").read_text()
    handed = set(re.findall(r"^  (\w+) +=", text[text.index('module "policies"') :].split("\n}")[0], re.MULTILINE))
    assert handed - {"source"} == set(re.findall(r'^variable "(\w+)"', policies, re.MULTILINE))
    given = set(re.findall(r'^output "(\w+)"', policies, re.MULTILINE))
    assert set(re.findall(r"module\.policies\.(\w+)", text)) == given


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The policies as Terraform makes them, for a bucket `text` and inputs in `crawl`."""
    folder = tmp_path_factory.mktemp("terraform") / "policies"
    shutil.copytree(INFRA / "terraform" / "policies", folder)
    terraform(folder, "init", "-backend=false", "-no-color")
    terraform(folder, "validate", "-no-color")
    values = {
        "bucket_arn": "arn:aws:s3:::text", "work": "work/", "releases": "releases/",
        "inputs": ["arn:aws:s3:::crawl"], "trust": {"arn": "arn:aws:iam::1:oidc-provider/p", "issuer": "p.example"},
    }  # fmt: skip
    (folder / "terraform.tfvars.json").write_text(json.dumps(values))
    terraform(folder, "apply", "-auto-approve", "-no-color", "-input=false")
    return {name: one["value"] for name, one in json.loads(terraform(folder, "output", "-json")).items()}


def allows(policy: str, action: str, resource: str, **context: str) -> bool:
    """Whether a policy allows it; conditions are of the one kind that these have."""
    found = False
    for one in json.loads(policy)["Statement"]:
        if not any(fnmatchcase(action, wanted) for wanted in one["Action"]):
            continue
        wanted = one.get("Condition", {}).get("StringLike", {})
        holds = all(any(fnmatchcase(context.get(key, ""), one) for one in ones) for key, ones in wanted.items())
        found |= holds and any(fnmatchcase(resource, f"{pattern}") for pattern in one["Resource"])
    return found


TEXT, RELEASE = "arn:aws:s3:::text", "arn:aws:s3:::text/releases/book/2026.01.01/train-00000.parquet"
PART, CRAWL = "arn:aws:s3:::text/work/book/documents/web/0.parquet", "arn:aws:s3:::crawl/1.warc.gz"
MAY = {
    "writer": [
        ("s3:PutObject", RELEASE), ("s3:PutObject", PART), ("s3:DeleteObject", PART), ("s3:GetObject", PART),
        ("s3:GetObject", CRAWL), ("s3:ListBucket", TEXT), ("s3:ListBucketMultipartUploads", TEXT),
        ("s3:AbortMultipartUpload", PART), ("s3:PutObject", f"{TEXT}/.curate-tried-0/a"),
    ],
    "reader": [("s3:GetObject", RELEASE)],
}  # fmt: skip
MAY_NOT = {
    "writer": [
        ("s3:DeleteBucket", TEXT), ("s3:PutBucketPolicy", TEXT), ("s3:DeleteObjectVersion", RELEASE),
        ("s3:PutObject", CRAWL), ("s3:DeleteObject", CRAWL), ("s3:PutObject", f"{TEXT}/other"),
        ("s3:PutLifecycleConfiguration", TEXT), ("iam:PassRole", "*"), ("s3:GetObject", "arn:aws:s3:::other/x"),
    ],
    "reader": [
        ("s3:PutObject", RELEASE), ("s3:DeleteObject", RELEASE), ("s3:GetObject", PART), ("s3:GetObject", CRAWL),
        ("s3:ListBucket", TEXT), ("s3:AbortMultipartUpload", RELEASE), ("s3:GetObjectVersion", RELEASE),
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", ["writer", "reader"])
def test_a_role_may_do_its_work_and_nothing_else(role: str, policies: dict[str, Any]) -> None:
    """Runs read, write and tidy their prefixes; training jobs read releases, not the workspace."""
    assert [asked for asked in MAY[role] if not allows(policies[role], *asked)] == []
    assert [asked for asked in MAY_NOT[role] if allows(policies[role], *asked)] == []
    if role == "reader":
        assert allows(policies[role], "s3:ListBucket", TEXT, **{"s3:prefix": "releases/book/"})
        assert not allows(policies[role], "s3:ListBucket", TEXT, **{"s3:prefix": "work/"})
    assumed = json.loads(policies["assume"][role])["Statement"][0]
    assert assumed["Condition"]["StringEquals"]["p.example:sub"] == f"system:serviceaccount:curate:curate-{role}"


def test_nobody_reads_the_bucket_in_the_clear(policies: dict[str, Any]) -> None:
    """Its own policy refuses all that does not come over TLS."""
    (statement,) = json.loads(policies["bucket"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [TEXT, f"{TEXT}/*"]


def test_deployments_never_overlap_and_tell_that_they_live() -> None:
    """Each in prefect.yaml has one run at a time, and heartbeats of a third of the silence that is taken for death."""
    pytest.importorskip("prefect")
    from prefect.events.schemas.automations import AutomationCore  # noqa: PLC0415  # slow
    from prefect.flow_engine import MINIMUM_HEARTBEAT_INTERVAL  # noqa: PLC0415

    from flows.deploy import HEARTBEAT  # noqa: PLC0415

    deployments = yaml.safe_load((INFRA / "prefect.yaml").read_text())["deployments"]
    assert [one["name"] for one in deployments] == ["nightly", "pull", "textbooks", "on-demand"]
    for one in deployments:
        assert one["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
        assert one["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT)
        assert one["tags"] == ["curate"]
        assert all("timezone" in schedule for schedule in one.get("schedules", []))
    silent, stuck = (
        AutomationCore.model_validate(one)
        for one in yaml.safe_load((INFRA / "automations.yaml").read_text())["automations"]
    )
    assert HEARTBEAT >= MINIMUM_HEARTBEAT_INTERVAL
    assert silent.trigger.within.total_seconds() == 3 * HEARTBEAT  # type: ignore[union-attr]
    assert stuck.trigger.within.total_seconds() == 900  # type: ignore[union-attr]
    for told in yaml.safe_load((INFRA / "notifications.yaml").read_text())["automations"]:
        AutomationCore.model_validate(told)
