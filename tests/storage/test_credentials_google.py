"""Who asks Google Storage: every source of credentials, and one account per process."""

import json
import os
import subprocess
import sys

import pytest

from tests.storage.remotes import FAST, remote
from volumekit.errors import OptionError, PermissionDeniedError, StorageError, UnsupportedError
from volumekit.model.url import parse_url
from volumekit.storage import credentials_google, filesystem_arguments, open_store
from volumekit.storage.credentials_google import NOBODY, google_logins
from volumekit.storage.fsspec import FsspecStore
from volumekit.storage.gs import EMULATOR, GsSettings, GsStore
from volumekit.storage.gs_process import Account
from volumekit.testing.servers import Fault


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without any credentials."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "CLOUDSDK_CONFIG", "VOLUMEKIT_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def account(name):
    return {"type": "service_account", "client_email": name, "private_key": "secret", "token_uri": "https://a"}


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


class Sources:
    """Each makes one source of credentials, whose account has its own name."""

    def secrets(home, env):
        return {"secrets": account("secrets")}

    def bucket_file(home, env):
        write(home / ".cloudvolume/secrets/bucket-google-secret.json", account("bucket_file"))

    def environment(home, env):
        write(home / "env.json", account("environment"))
        env.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(home / "env.json"))

    def file(home, env):
        write(home / ".volumekit/secrets/google-secret.json", account("file"))

    def gcloud(home, env):
        write(home / ".config/gcloud/application_default_credentials.json", account("gcloud"))


ORDER = [name for name in vars(Sources) if not name.startswith("_")]


def found(options):
    first, *others = google_logins("bucket", options, options.get("secrets"))
    return json.loads(first.document)["client_email"], others


@pytest.mark.parametrize("source", ORDER)
def test_every_source(source, home, monkeypatch):
    options = getattr(Sources, source)(home, monkeypatch) or {}
    assert found(options) == (source, [NOBODY])
    assert found({**options, "anonymous": False}) == (source, [])
    assert google_logins("bucket", {"anonymous": True}, None) == (NOBODY,)


@pytest.mark.parametrize("n", range(len(ORDER) - 1))
def test_the_more_explicit_source_wins(n, home, monkeypatch):
    later = getattr(Sources, ORDER[n + 1])(home, monkeypatch) or {}
    sooner = getattr(Sources, ORDER[n])(home, monkeypatch) or {}
    assert found({**later, **sooner})[0] == ORDER[n]


def test_tokens(home):
    for secrets, options in (("abc", {}), ({"token": "abc"}, {}), (None, {"token": "abc"})):
        settings = GsSettings.of(parse_url("gs://bucket/a"), {"secrets": secrets, **options})
        assert settings.logins[0].token == "abc"
        assert settings.logins[0].header() == {"Authorization": "Bearer abc"}
    assert filesystem_arguments(parse_url("gs://bucket/a"), {"secrets": "abc"})["token"].token == "abc"


def test_a_machine_of_google_s(home, monkeypatch):
    monkeypatch.setattr(credentials_google, "_on_google", lambda: True)
    first, second = google_logins("bucket", {}, None)
    assert (first.machine, second) == (True, NOBODY)
    assert first.filesystem_arguments() == {"token": "cloud"}


def test_without_credentials_buckets_are_read_as_web_servers_are(home):
    store = open_store(parse_url("gs://bucket/a b/c"))
    assert isinstance(store, GsStore)
    native = store.native()
    assert (native["driver"], native["base_url"], native["path"]) == (
        "http", "https://storage.googleapis.com", "/bucket/a b/c/",
    )  # fmt: skip
    assert "headers" not in native
    with pytest.raises(PermissionDeniedError, match="needs credentials"):
        store.commit({"a": b"1"}).result()


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"secrets": {"a": 1}}, "neither a Google account's key"),
        ({"secrets": {"token": "a\nb"}}, "neither"),
        ({"secrets": "/no/such.json"}, "cannot be read"),
        ({"anonymous": False}, "no credentials"),
        ({"key": "a"}, "has no option 'key'"),
        ({"projekt": "a"}, "did you mean 'project'"),
    ],
)
def test_impossible_options(given, hint, home):
    with pytest.raises(OptionError, match=hint):
        open_store(parse_url("gs://bucket/a"), options=given)


def test_an_environment_that_leads_nowhere(home, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(home / "none.json"))
    with pytest.raises(OptionError, match=r"none\.json"):
        open_store(parse_url("gs://bucket/a"))


def test_secrets_are_not_shown(home):
    settings = GsSettings.of(parse_url("gs://bucket/a"), {"secrets": account("me")})
    assert "private" not in repr(settings)
    assert "secrets= (me)" in settings.logins[0].source


@pytest.fixture
def place(web, gcs_bucket, home):
    found = remote("gs", web, "", gcs_bucket)
    found.put("a", b"1")
    return found


def test_emulators_get_nobody_s_credentials(place, home, monkeypatch):
    Sources.environment(home, monkeypatch)
    store = place.open()
    assert store.settings.logins == (EMULATOR,)
    assert store.read("a").result().data == b"1"
    assert place.web.requests[-1].headers["authorization"] == "Bearer emulator"


@pytest.mark.parametrize("name", ["STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"])
def test_servers_of_the_environment(name, place, monkeypatch):
    monkeypatch.setenv(name, place.web.url)
    store = open_store(parse_url(f"gs://{place.bucket}/volume"), options={"retry": FAST})
    assert store.read("a").result().data == b"1"
    monkeypatch.setenv(name, place.web.url.removeprefix("http://"))
    store = open_store(parse_url(f"gcs://{place.bucket}/volume"), options={"retry": FAST, "project": "me"})
    assert store.read("a").result().data == b"1"
    assert "userProject=me" in place.web.requests[-1].query


def test_a_second_account_goes_through_gcsfs(place):
    """TensorStore speaks for one account per process."""
    first = place.open()
    assert Account.claim(EMULATOR)
    second = place.open(token="another")
    assert isinstance(second, FsspecStore)
    assert not Account.claim(GsSettings.of(parse_url(place.url), {"token": "another"}).logins[0])
    for store, token in ((second, "another"), (first, "emulator")):
        assert store.read("a").result().data == b"1"
        assert place.web.requests[-1].headers["authorization"] == f"Bearer {token}"


def test_listings_that_are_refused_are_not_empty(place):
    """TensorStore takes them for empty."""
    store = place.open()
    assert list(store.list()) == ["a"]
    place.web.fault(Fault(403, {}, b'{"error": {"code": 403, "message": "you may not"}}'), ".*/o")
    with pytest.raises(PermissionDeniedError, match="you may not"):
        list(store.list("b/"))
    place.web.rules.clear()
    assert list(store.list("b/")) == []


def test_no_listing_where_it_cannot_be_trusted(home, monkeypatch):
    """An account needs google-auth to ask beside TensorStore."""
    monkeypatch.setattr(credentials_google, "_has_google_auth", lambda: False)
    monkeypatch.setattr(
        Account, "login", GsSettings.of(parse_url("gs://bucket/a"), {"secrets": account("me")}).logins[0]
    )
    store = open_store(parse_url("gs://bucket/a"), options={"secrets": account("me")})
    assert isinstance(store, GsStore)
    assert not store.listable
    with pytest.raises(UnsupportedError, match="volumekit\\[gs\\]"):
        store.list()


def test_accounts_that_google_refuses(home, monkeypatch):
    import google.auth.exceptions

    class Refused:
        valid = False

        def refresh(self, request):
            raise google.auth.exceptions.RefreshError("invalid_grant")

    login, *_ = google_logins("bucket", {}, account("me"))
    monkeypatch.setattr(credentials_google, "_account", lambda login: Refused())
    with pytest.raises(PermissionDeniedError, match=r"secrets= \(me\).*invalid_grant"):
        login.header()


def test_two_servers_at_once(gcs_server, place):
    """Each store keeps its own, whatever was opened in between."""
    other = f"gs://{gcs_server.url}/{place.bucket}/volume"
    near, far = place.open(), open_store(parse_url(other))
    for store, count in ((near, 1), (far, 0), (near, 1), (far, 0)):
        before = len(place.web.requests)
        assert store.read("a").result().data == b"1"
        assert len(place.web.requests) - before == count


CODE = """
import os, sys
from volumekit.model.url import parse_url
from volumekit.storage import open_store
before = dict(os.environ)
store = open_store(parse_url(sys.argv[1]), options={"secrets": eval(sys.argv[2]), "retry": {"attempts": 1}})
print(store.native()["driver"], store.listable)
try:
    print(store.read("a").result().data)
except Exception as error:
    print(type(error).__name__)
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
print(*changed)
"""


def run(url, secrets):
    done = subprocess.run([sys.executable, "-c", CODE, url, repr(secrets)], capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    return done.stdout.split("\n")


def test_nothing_is_printed(place):
    """Not by TensorStore either, which tells on standard error whose credentials it has found."""
    driver, data, _, _ = run(place.url, None)
    assert (driver, data) == ("gcs True", "b'1'")
    driver, data, _, _ = run(place.url, {"token": "mine"})
    assert (driver, data) == ("gcs True", "b'1'")
    assert place.web.requests[-1].headers["authorization"] == "Bearer mine"


def test_accounts_of_json_files(home):
    """Whether Google is reachable or not, TensorStore speaks for the account, and the environment is as it was."""
    driver, _, changed, _ = run("gs://volumekit-no-such-bucket/a", account("me"))
    assert driver == "gcs True"
    assert changed == ""


def test_standard_error_of_others_is_not_lost(capfd):
    from volumekit.storage.gs_process import hushed

    with hushed():
        os.write(2, b"I1126 13:15:18.173 123 google_auth_provider.cc:136] Using something\nmine\n")
    assert capfd.readouterr().err == "mine\n"


def test_a_server_that_is_no_google(web):
    web.absent = 418
    with pytest.raises(StorageError, match="does not answer as Google Storage"):
        open_store(parse_url(f"gs://{web.url}/bucket/a"), options={"retry": FAST})
