"""Tests of mogface_batch.storage.allowed_sources: what a manifest from elsewhere may make this machine read."""

import socket

import pytest
from servers import Web, status

from mogface_batch import storage
from mogface_batch.errors import FetchFault
from mogface_batch.storage import allowed_sources as sources_module
from mogface_batch.storage.allowed_sources import AllowedSources, is_public

CONTENT = b"an image"


def is_allowed(sources: AllowedSources, address: str) -> bool:
    try:
        sources.check(address)
    except FetchFault as fault:
        return (fault.code, "sources.allow" in fault.message) != ("not_allowed", True)
    return True


@pytest.mark.parametrize(
    ("manifest", "base", "address", "allowed"),
    [
        pytest.param("/data/m.csv", None, "/etc/passwd", True, id="a-person-s-own-manifest"),
        pytest.param("/data/m.csv", None, "http://127.0.0.1/a.jpg", True, id="of-a-person-on-loopback"),
        pytest.param("s3://b/m.csv", None, "s3://other/a.jpg", True, id="another-bucket"),
        pytest.param("s3://b/m.csv", None, "https://h/a.jpg", True, id="the-web"),
        pytest.param("s3://b/m.csv", None, "/etc/passwd", False, id="a-local-file"),
        pytest.param("https://h/m.csv", None, "/etc/passwd", False, id="a-local-file-by-the-web"),
        pytest.param("s3://b/m.csv", None, "memory://a/b", False, id="any-other-scheme"),
        pytest.param("s3://b/m.csv", None, "zip://a.jpg::file:///etc/x.zip", False, id="a-chain-of-schemes"),
        pytest.param(
            "s3://b/m.csv", None, "simplecache::file:///etc/passwd", False, id="a-chain-that-is-a-path"
        ),
        pytest.param("s3://b/m.csv", "/data", "/data/a.jpg", True, id="below-base_uri"),
        pytest.param("s3://b/m.csv", "/data", "/data", True, id="base_uri-itself"),
        pytest.param("s3://b/m.csv", "/data", "/database/a.jpg", False, id="beside-base_uri"),
        pytest.param("memory://b/m.csv", None, "memory://b/m.csv", True, id="the-manifest-itself"),
    ],
)
def test_without_sources_allow(manifest, base, address, allowed):
    assert is_allowed(AllowedSources.of(None, manifest, base), address) is allowed


@pytest.mark.parametrize(
    ("allow", "address", "allowed"),
    [
        pytest.param([], "s3://b/a.jpg", False, id="nothing"),
        pytest.param(["s3://"], "s3://b/a.jpg", True, id="a-scheme"),
        pytest.param(["s3://"], "S3://b/a.jpg", True, id="in-capitals"),
        pytest.param(["s3://"], "gs://b/a.jpg", False, id="another-scheme"),
        pytest.param(["s3://b"], "s3://b/a.jpg", True, id="a-bucket"),
        pytest.param(["s3://b"], "s3://b2/a.jpg", False, id="a-longer-bucket"),
        pytest.param(["s3://b/in/"], "s3://b/in/a.jpg", True, id="a-folder"),
        pytest.param(["s3://b/in"], "s3://b/inner/a.jpg", False, id="a-longer-folder"),
        pytest.param(["s3://b/in"], "s3://b/in/../out/a.jpg", False, id="out-of-a-folder"),
        pytest.param(["https://h/in"], "https://H/in/a.jpg", True, id="a-host-in-capitals"),
        pytest.param(["https://h/in"], "https://h/in/%2e%2e/a.jpg", False, id="out-of-a-folder-of-the-web"),
        pytest.param(["https://h"], "https://h.evil.example/a.jpg", False, id="a-longer-host"),
        pytest.param(["https://h"], "https://h@evil.example/a.jpg", False, id="a-user-like-the-host"),
        pytest.param(["https://h"], "https://h:8443/a.jpg", False, id="another-port"),
        pytest.param(["https://h"], "http://h/a.jpg", False, id="without-encryption"),
        pytest.param(["/data"], "/data/a.jpg", True, id="a-local-folder"),
        pytest.param(["file:///data/"], "/data/a.jpg", True, id="a-local-folder-as-a-uri"),
        pytest.param(["/data"], "/etc/passwd", False, id="another-local-folder"),
        pytest.param(["/"], "/etc/passwd", True, id="the-whole-disk"),
    ],
)
@pytest.mark.parametrize("manifest", ["/data/m.csv", "s3://b/m.csv"])
def test_with_sources_allow(manifest, allow, address, allowed):
    assert is_allowed(AllowedSources.of(tuple(allow), manifest, None), address) is allowed


def test_a_link_does_not_lead_out_of_an_allowed_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "in/link.jpg").symlink_to(tmp_path / "secret.jpg")
    sources = AllowedSources.of((str(tmp_path / "in"),), "s3://b/m.csv", None)

    assert is_allowed(sources, f"{tmp_path}/in/a.jpg")
    assert not is_allowed(sources, f"{tmp_path}/in/link.jpg")


@pytest.mark.parametrize(
    ("ip", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::", False),
    ],
)
def test_what_is_public(ip, public):
    assert is_public(ip) is public


# -- over http -----------------------------------------------------------------------------------------------------

FOREIGN = AllowedSources.of(None, "s3://somewhere/m.csv", None)


def fetch(url, sources=FOREIGN):
    return storage.fetch(url, max_bytes=1000, timeout_s=10, attempts=3, sources=sources)


def refused(url, sources=FOREIGN) -> FetchFault:
    with pytest.raises(FetchFault) as caught:
        fetch(url, sources)
    return caught.value


@pytest.fixture
def names(monkeypatch):
    """Let a name mean what a test says, each time that it is asked for."""
    meanings: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def found(host, port, *arguments, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name in meanings:
            host = meanings[name].pop(0) if len(meanings[name]) > 1 else meanings[name][0]
        return real(host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return meanings


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0"]
)
def test_a_foreign_manifest_cannot_reach_this_machine_by_any_spelling(web, host):
    url = web.answer("/a.jpg", status(200, CONTENT)).replace("127.0.0.1", host)

    fault = refused(url)

    # Of some of the spellings aiohttp itself makes nothing.
    assert fault.code == "not_found" or (fault.code, fault.attempts) == ("not_allowed", 1)
    assert fault.code == "not_found" or "private network" in fault.message
    assert web.asked == []


def test_a_name_that_means_this_machine_is_refused(web, names):
    names["innocent.example"] = ["127.0.0.1"]
    url = web.answer("/a.jpg", status(200, CONTENT)).replace("127.0.0.1", "innocent.example")

    assert (refused(url).code, web.asked) == ("not_allowed", [])


def test_a_name_is_judged_by_the_address_that_is_connected_to(web, names, monkeypatch):
    # A name server that gives a public address when it is asked first, and a private one when it counts.
    names["rebinding.example"] = ["93.184.216.34", "127.0.0.1"]
    socket.getaddrinfo("rebinding.example", 80)
    url = web.answer("/a.jpg", status(200, CONTENT)).replace("127.0.0.1", "rebinding.example")

    assert (refused(url).code, web.asked) == ("not_allowed", [])


def test_a_redirect_to_this_machine_is_refused(web, monkeypatch):
    inside = Web()
    try:
        target = inside.answer("/secret", status(200, b"secret"))
        url = web.answer("/a.jpg", status(302, Location=target))
        port = int(web.url.rpartition(":")[2])
        # The first server stands for one on the Internet; the second is at the same address, by another port.
        monkeypatch.setattr(
            AllowedSources, "must_be_public", lambda _, url: not url.startswith(f"http://127.0.0.1:{port}/")
        )

        assert (refused(url).code, web.asked, inside.asked) == ("not_allowed", ["/a.jpg"], [])
    finally:
        inside.close()


def test_redirects_are_followed_checked_and_end(web):
    good = web.answer("/good", status(200, CONTENT))
    named = AllowedSources.of((web.url + "/",), "s3://b/m.csv", None)

    for code in (301, 302, 303, 307, 308):
        assert fetch(web.answer(f"/{code}", status(code, Location="/good")), named).encoded == CONTENT
    assert refused(web.answer("/file", status(302, Location="file:///etc/passwd")), named).code == "refused"
    assert refused(web.answer("/loop", status(302, Location="/loop")), named).code == "refused"
    narrow = AllowedSources.of((web.url + "/in",), "s3://b/m.csv", None)
    assert refused(web.answer("/in/a", status(302, Location=good)), narrow).code == "not_allowed"


def test_the_host_that_the_config_names_may_be_private(web):
    url = web.answer("/images/a.jpg", status(200, CONTENT))

    for named in (
        AllowedSources.of(None, f"{web.url}/m.csv", None),
        AllowedSources.of(None, "s3://b/m.csv", f"{web.url}/images"),
        AllowedSources.of((web.url,), "s3://b/m.csv", None),
        AllowedSources.of(None, "/data/m.csv", None),
    ):
        assert fetch(url, named).encoded == CONTENT
    assert refused(url, AllowedSources.of(("http://",), "s3://b/m.csv", None)).code == "not_allowed"


def test_the_marker_of_a_private_address_survives_several_addresses(web, names, monkeypatch):
    real = socket.getaddrinfo

    def two(host, port, *arguments, **options):
        return real("127.0.0.1", port, *arguments, **options) + real("::1", port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", two)
    url = web.answer("/a.jpg", status(200, CONTENT)).replace("127.0.0.1", "both.example")

    assert sources_module.PRIVATE in refused(url).message


# -- what is shown -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("/a?sig=x", "/a?sig=x"),
        ("https://user:pw@h/a.jpg", "https://...@h/a.jpg"),
        ("https://h/a.jpg?X-Amz-Signature=1&x=2", "https://h/a.jpg?..."),
        ("https://h/a@b.jpg", "https://h/a@b.jpg"),
        ("https://h/a.jpg?#x@y", "https://h/a.jpg?..."),
        ("s3://b/who?.jpg", "s3://b/who?.jpg"),
        ("az://c/a.jpg?sv=1&sig=abc", "az://c/a.jpg?..."),
        ("s3://key:secret@b/a", "s3://...@b/a"),
        ("abfs://c@account.dfs.core.windows.net/a", "abfs://c@account.dfs.core.windows.net/a"),
    ],
)
def test_passwords_and_signatures_are_not_shown(address, shown):
    assert storage.redact(address) == shown


def test_a_row_s_message_shows_neither(web):
    url = web.answer("/a.jpg?sig=s3cret", status(403)).replace("http://", "http://me:s3cret@")

    fault = refused(url, storage.ALL_SOURCES)

    assert fault.code == "forbidden"
    assert "s3cret" not in fault.message
    assert "/a.jpg?..." in fault.message
