"""Who signs requests to S3: every source of credentials, their order, and what happens when they are refused."""

import itertools
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.remotes import FAST, remote
from volumekit import Volume
from volumekit.errors import OptionError, PermissionDeniedError
from volumekit.model.url import parse_url
from volumekit.storage import filesystem_arguments, open_store
from volumekit.storage.credentials_aws import AwsLogin
from volumekit.storage.fsspec import FsspecStore
from volumekit.testing.servers import Fault


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without any credentials; S3 is the one in the web fixture."""
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("VOLUMEKIT_SECRETS_DIR", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def place(web, quick_bucket, home):
    found = remote("s3", web, quick_bucket, "")
    found.put("a", b"1")
    return found


def keys(name):
    return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "secret"}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def profile(name, key, **more):
    lines = {"aws_access_key_id": key, "aws_secret_access_key": "secret", **more}
    return "\n".join([f"[{name}]", *(f"{k} = {v}" for k, v in lines.items()), ""])


def signer(place, **options):
    """Return the access key that signed a request, None if nobody did."""
    assert place.open(**options).read("a").result().data == b"1"
    header = place.web.requests[-1].headers.get("authorization")
    return header and header.partition("Credential=")[2].partition("/")[0]


class Sources:
    """Each makes one source of credentials, which then gives the key of its own name."""

    def secrets(home, env, bucket):
        return {"secrets": keys("secrets")}

    def option(home, env, bucket):
        return {"key": "option", "secret": "secret"}

    def profile_option(home, env, bucket):
        write(home / ".aws/credentials", profile("lab", "profile_option"))
        return {"profile": "lab"}

    def bucket_file(home, env, bucket):
        write(home / f".volumekit/secrets/{bucket}-aws-secret.json", keys("bucket_file"))

    def environment(home, env, bucket):
        for name, value in keys("environment").items():
            env.setenv(name, value)

    def aws_profile(home, env, bucket):
        env.setenv("AWS_PROFILE", "other")
        write(home / ".aws/config", profile("profile other", "aws_profile", region="eu-west-1"))

    def file(home, env, bucket):
        write(home / ".cloudvolume/secrets/aws-secret.json", keys("file"))

    def default_profile(home, env, bucket):
        write(home / ".aws/credentials", profile("default", "default_profile"))


ORDER = [name for name in vars(Sources) if not name.startswith("_")]


@pytest.mark.parametrize("source", ORDER)
def test_every_source_signs(source, place, home, monkeypatch):
    options = getattr(Sources, source)(home, monkeypatch, place.bucket) or {}
    assert signer(place, **options) == source
    assert signer(place, **options, anonymous=True) is None


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(ORDER)))
def test_the_more_explicit_source_wins(first, second, place, home, monkeypatch):
    later = getattr(Sources, second)(home, monkeypatch, place.bucket) or {}
    sooner = getattr(Sources, first)(home, monkeypatch, place.bucket) or {}
    assert signer(place, **{**later, **sooner}) == first


def test_nobody_signs_without_credentials(place):
    assert signer(place) is None
    with pytest.raises(OptionError, match="no credentials"):
        place.open(anonymous=False)


@pytest.mark.parametrize("folder", [".volumekit/secrets", ".cloudvolume/secrets", ".cloudfiles/secrets"])
def test_secrets_folders(folder, place, home):
    write(home / folder / "aws-secret.json", keys("FOLDER"))
    assert signer(place) == "FOLDER"


def test_a_secrets_folder_of_ones_own(place, home, monkeypatch, tmp_path):
    write(home / ".volumekit/secrets/aws-secret.json", keys("USUAL"))
    write(tmp_path / "own/aws-secret.json", keys("OWN"))
    monkeypatch.setenv("VOLUMEKIT_SECRETS_DIR", str(tmp_path / "own"))
    assert signer(place) == "OWN"


def test_secrets_of_a_volume(place, tmp_path):
    import numpy as np

    write(tmp_path / "key.json", keys("PATH"))
    path = tmp_path / "key.json"
    for n, (secrets, name) in enumerate(((keys("DICT"), "DICT"), (str(path), "PATH"), (path, "PATH"))):
        how = {"secrets": secrets, "storage_options": {"retry": FAST}}
        volume = Volume.from_numpy(np.ones((8, 8, 8), np.uint8), f"{place.url}/{n}", **how)
        start = len(place.web.requests)
        assert Volume(volume.cloudpath, **how)[:].all()
        asked = place.web.requests[start:]
        assert len(asked) == 2
        assert all(f"Credential={name}/" in request.headers["authorization"] for request in asked)


def test_session_tokens(place):
    place.open(secrets={**keys("A"), "AWS_SESSION_TOKEN": "passing"}).read("a").result()
    assert place.web.requests[-1].headers["x-amz-security-token"] == "passing"


def test_a_program_that_gives_credentials_for_a_while(place, home, monkeypatch):
    """Credentials that end are asked for again."""
    from volumekit.storage import credentials_aws

    later = []
    monkeypatch.setattr(credentials_aws, "_later", lambda seconds, run: later.append((seconds, run)))
    count = home / "count"
    code = (
        "import json, pathlib, sys; p = pathlib.Path(sys.argv[1]); n = len(p.read_text()) if p.exists() else 0;"
        "p.write_text('x' * (n + 1)); print(json.dumps({'Version': 1, 'AccessKeyId': f'TURN{n}',"
        " 'SecretAccessKey': 's', 'SessionToken': f'token{n}', 'Expiration': '2999-01-01T00:00:00Z'}))"
    )
    (home / "login.py").write_text(code)
    write(home / ".aws/config", f"[default]\ncredential_process = {sys.executable} {home}/login.py {count}\n")
    assert signer(place) == "TURN0"
    seconds, run = later.pop()
    assert seconds > 900 * 86400
    run()
    assert count.read_text() == "xx"
    assert later
    store = place.open()
    login = store.settings.logins[0]
    assert login.key == "TURN2"


@pytest.mark.parametrize(
    "process", ["nothing-like-it --at all", "false", f"{sys.executable} -c pass", f"{sys.executable} -c 'print([])'"]
)
def test_a_program_that_gives_none(process, place, home):
    write(home / ".aws/config", f"[default]\ncredential_process = {process}\n")
    with pytest.raises(OptionError, match="credential_process"):
        place.open()


def test_the_role_of_a_container(place, web, monkeypatch):
    """Served by a container's metadata service, here the same web server."""
    secret = {"AccessKeyId": "ROLE", "SecretAccessKey": "s", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}
    role = Fault(200, {"Content-Type": "application/json"}, json.dumps(secret).encode())
    web.rules.append(lambda asked: role if asked.path == "role" else None)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{web.url}/role")
    assert signer(place) == "ROLE"


def refuse_signed(web, code="InvalidAccessKeyId", status=403):
    body = f"<Error><Code>{code}</Code><Message>No {code}</Message></Error>".encode()
    web.rules.append(lambda asked: Fault(status, {}, body) if "authorization" in asked.headers else None)


@pytest.mark.parametrize(
    ("code", "status"),
    [("InvalidAccessKeyId", 403), ("SignatureDoesNotMatch", 403), ("AccessDenied", 403), ("ExpiredToken", 400)],
)
def test_public_buckets_need_no_right_credentials(code, status, place, monkeypatch):
    """Signed first, then as nobody; from then on as nobody only."""
    Sources.environment(None, monkeypatch, "")
    refuse_signed(place.web, code, status)
    store = place.open()
    assert store.native()["aws_credentials"]["type"] == "profile"
    assert store.read("a").result().data == b"1"
    assert store.native()["aws_credentials"] == {"type": "anonymous"}
    assert store.read("a").result().data == b"1"
    assert ["authorization" in asked.headers for asked in place.web.requests] == [True, False, False]
    assert list(place.open().list()) == ["a"]
    with pytest.raises(PermissionDeniedError, match=code):
        place.open(anonymous=False).read("a").result()


def test_chunks_of_public_buckets_without_a_look_at_the_info(place, monkeypatch):
    """TensorStore's own reading is refused first; the store knows better."""
    info = Volume.create_new_info(
        num_channels=1, layer_type="image", data_type="uint8", encoding="raw", resolution=(1, 1, 1),
        voxel_offset=(0, 0, 0), volume_size=(8, 8, 8), chunk_size=(8, 8, 8),
    )  # fmt: skip
    place.put("1_1_1/0-8_0-8_0-8", b"7" * 512)
    Sources.environment(None, monkeypatch, "")
    refuse_signed(place.web)
    volume = Volume(place.url, info=info, storage_options={"retry": FAST})
    assert (volume[:] == ord("7")).all()


def test_refusals_name_all_credentials_tried(place, monkeypatch):
    Sources.environment(None, monkeypatch, "")
    refuse_signed(place.web, "ExpiredToken", 400)
    place.web.fault(Fault(403, {}, b"<Error><Code>AccessDenied</Code></Error>"))
    store = place.open()
    write = store.commit
    for ask in (lambda: store.read("a").result(), lambda: list(store.list()), lambda: write({"a": b""}).result()):
        with pytest.raises(PermissionDeniedError) as caught:
            ask()
        assert "the environment (access key …ment), then nobody's (anonymously)" in caught.value.message
    place.web.rules.pop()  # what is refused once may be allowed later
    assert store.read("a").result().data == b"1"


def test_expired_credentials_say_so(place):
    refuse_signed(place.web, "ExpiredToken", 400)
    with pytest.raises(PermissionDeniedError, match=r"expired; renew them; HTTP status 400 .*ExpiredToken"):
        place.open(secrets=keys("OLD"), anonymous=False).read("a").result()


def test_a_wrong_clock_says_so(place):
    refuse_signed(place.web, "RequestTimeTooSkewed")
    with pytest.raises(PermissionDeniedError, match="clock"):
        place.open(secrets=keys("A"), anonymous=False).read("a").result()


QUIET = """
import sys
from volumekit.model.url import parse_url
from volumekit.storage import open_store
store = open_store(parse_url(sys.argv[1]), options={"retry": {"attempts": 2, "delay": 0.01}})
print(store.read("a").result().data, store.native()["aws_credentials"]["type"])
"""


@pytest.mark.parametrize("source", [None, "environment", "file", "default_profile"])
def test_nothing_is_printed(source, place, home, monkeypatch):
    """Not even by TensorStore, whether credentials are found, missing, or refused."""
    if source:
        getattr(Sources, source)(home, monkeypatch, "")
    for refused in (False, True):
        if refused:
            refuse_signed(place.web)
        done = subprocess.run([sys.executable, "-c", QUIET, place.url], capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        assert done.stdout.split() == ["b'1'", "profile" if source and not refused else "anonymous"]


def test_keys_are_for_this_user_only_and_vanish():
    code = (
        "from volumekit.storage.credentials_aws import AwsLogin\n"
        "print(AwsLogin('x', key='K', secret='S').spec()['credentials_file'])\n"
        "import os, stat, sys; path = sys.stdout\n"
    )
    spec = AwsLogin("x", key="K", secret="S", token="T").spec()
    path = Path(spec["credentials_file"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "S" in path.read_text()
    assert AwsLogin("y", key="K", secret="S", token="T").spec() == spec
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert not Path(other).exists()
    assert not Path(other).parent.exists()


def test_secrets_are_not_shown(place):
    store = place.open(secrets=keys("SHOWN"))
    told = repr(store.settings) + repr(store.native()) + repr(store.settings.logins)
    assert "secret" not in told.replace("secrets=", "")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"secrets": {"AWS_ACCESS_KEY_ID": "A"}}, "AWS_SECRET_ACCESS_KEY"),
        ({"secrets": {"a": 1}}, "access key"),
        ({"secrets": 7}, "neither a dictionary"),
        ({"secrets": "/no/such.json"}, "cannot be read"),
        ({"secrets": "a token"}, "access key"),
        ({"secrets": {**keys("A"), "AWS_SESSION_TOKEN": "two\nlines"}}, "damaged"),
        ({"key": "A"}, "AWS_SECRET_ACCESS_KEY"),
        ({"profile": "nobody"}, "no profile 'nobody'"),
        ({"path_style": True}, "region"),
        ({"regoin": "us-east-1"}, "did you mean 'region'"),
    ],
)
def test_impossible_options(given, hint, home):
    with pytest.raises(OptionError, match=hint):
        open_store(parse_url("s3://bucket/a"), options=given)


@pytest.mark.parametrize("text", ["{", "[]", "", "\xff"])
def test_damaged_secrets_files(text, place, home):
    path = home / ".volumekit/secrets/aws-secret.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(OptionError, match=r"aws-secret\.json"):
        place.open()
    assert signer(place, anonymous=True) is None


@pytest.mark.parametrize("text", [b"aws_access_key_id = A", b"[default\n", b"\xff\xfe"])
def test_damaged_profiles(text, place, home):
    path = home / ".aws/credentials"
    path.parent.mkdir()
    path.write_bytes(text)
    with pytest.raises(OptionError, match="cannot be read"):
        place.open()


def test_half_an_environment(place, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    with pytest.raises(OptionError, match="AWS_SECRET_ACCESS_KEY"):
        place.open()


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT_URL"])
def test_servers_of_the_environment(name, place, monkeypatch):
    monkeypatch.setenv(name, place.web.url)
    store = open_store(parse_url(f"s3://{place.bucket}/volume"), options={"retry": FAST})
    assert store.read("a").result().data == b"1"


def test_servers_by_option_and_profile(place, home, monkeypatch):
    url = parse_url(f"s3://{place.bucket}/volume")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = open_store(url, options={"endpoint": place.web.url + "/", "region": "mars-north-1", **{"retry": FAST}})
    assert store.read("a").result().data == b"1"
    assert store.native()["aws_region"] == "mars-north-1"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    write(home / ".aws/config", f"[default]\nendpoint_url = {place.web.url}\nregion = eu-central-1\n")
    store = open_store(url, options={"retry": FAST})
    assert store.read("a").result().data == b"1"
    assert store.native()["aws_region"] == "eu-central-1"


def test_amazon_s_own_server(home, monkeypatch):
    url = parse_url("s3://bucket/a")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert "endpoint" not in open_store(url).native()
    assert "aws_region" not in open_store(url).native(), "buckets of others are anywhere: Amazon tells"
    assert open_store(url, options={"region": "eu-west-2"}).native()["aws_region"] == "eu-west-2"
    path = open_store(url, options={"region": "eu-west-2", "path_style": True})
    assert path.native()["endpoint"] == "https://s3.eu-west-2.amazonaws.com"


def test_buckets_in_host_names_go_through_s3fs(place):
    store = place.open(path_style=False, secrets=keys("A"))
    assert isinstance(store, FsspecStore)
    assert store.files.fs.config_kwargs["s3"] == {"addressing_style": "virtual"}


def test_who_asks_pays(place):
    """Through s3fs, as TensorStore misspells the header."""
    assert place.open(requester_pays=True, secrets=keys("A")).read("a").result().data == b"1"
    assert place.web.requests[-1].headers["x-amz-request-payer"] == "requester"


def test_servers_without_conditional_writes(place):
    for conditional in (True, False):
        store = place.open(conditional=conditional)
        assert store.conditional == conditional
        store.commit({"b": b"1"}, b"\x02").result()
        assert ("if-none-match" in place.web.requests[-1].headers) == conditional
        store.commit({"b": None}).result()


def test_arguments_of_s3fs(place):
    import s3fs

    url = parse_url(place.url)
    fs = s3fs.S3FileSystem(**filesystem_arguments(url, {"secrets": keys("FSSPEC")}), skip_instance_cache=True)
    assert fs.cat_file(f"{place.bucket}/volume/a") == b"1"
    assert "Credential=FSSPEC/" in place.web.requests[-1].headers["authorization"]
    fs = s3fs.S3FileSystem(**filesystem_arguments(url), skip_instance_cache=True)
    assert fs.cat_file(f"{place.bucket}/volume/a") == b"1"
    assert "authorization" not in place.web.requests[-1].headers
    assert filesystem_arguments(parse_url("http://host/a")) == {}
