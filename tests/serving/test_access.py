"""Keys and tokens: what is forged, revoked, expired or out of scope gets nowhere; the file of keys opens no door."""

from __future__ import annotations

import json
import time

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec

from kgrec_core.cli.serve import serve
from kgrec_core.errors import KgrecError
from kgrec_core.serving.access import Access, Caller, refuse_open_door
from kgrec_core.serving.keys import Keys
from kgrec_core.serving.problem import Refused


def asked(access: Access, secret: str | None, scope: str = "ask") -> str:
    return access.caller(None if secret is None else f"Bearer {secret}", {}, scope).name


def refused(status: int, access: Access, *given) -> str:
    with pytest.raises(Refused) as caught:
        asked(access, *given)
    assert caught.value.status == status
    return str(caught.value)


def test_keys(tmp_path):
    file = tmp_path / "keys.json"
    keys = Keys(file)
    secret, admin = keys.add("shop", ["ask"], days=1), keys.add("boss", ["admin"])
    access = Access(file)
    assert asked(access, secret) == "shop" and asked(access, admin, "edit") == "boss"
    assert secret not in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    assert "this key may ask; this needs edit" in refused(403, access, secret, "edit")
    for wrong in (None, "", "x", secret[:-1] + ("a" if secret[-1] != "a" else "b"), f"kg_{secret.split('_')[1]}_", "a.b.c"):
        refused(401, access, wrong)
    with pytest.raises(KgrecError, match="a valid key is called 'shop'"):
        keys.add("shop")
    keys.revoke("shop")
    refused(401, access, secret)
    with pytest.raises(KgrecError, match="no valid key is called 'shop'"):
        keys.revoke("shop")
    short = keys.add("short", days=1e-9)
    time.sleep(0.001)
    refused(401, access, short)
    with pytest.raises(KgrecError, match="no scope is called 'all'"):
        keys.add("x", ["all"])


def test_names_that_nobody_has(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    keys.add("kids"), keys.add("gone")
    keys.revoke("gone")
    assert Access(tmp_path / "keys.json").strangers({"kids": 12, "kid": 12, "gone": 6, "": 18}) == ["gone", "kid"]
    assert Access().strangers(["local", "kids"]) == ["kids"]


def test_a_rule_for_a_caller_that_nobody_is_is_said_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("kgrec_core.serving.process.run_service", lambda *_: None)
    (tmp_path / "shop.safety.toml").write_text('[age]\ncolumn = "age"\nothers = 18\ncallers = { kids = 12, kid = 12 }\n')
    Keys(tmp_path / "keys.json").add("kids")
    for words, told in ((["--keys", str(tmp_path / "keys.json")], "kid"), ([], "kid, kids")):
        done = CliRunner().invoke(serve, [str(tmp_path / "shop"), *words])
        assert done.exit_code == 0 and done.stderr.count("\n") == 1, done.stderr
        assert (
            f"shop.safety.toml: no valid key is called {told}, so this rule reaches nobody; make one with `kgrec keys add kid`"
            in done.stderr
        )


def test_a_file_of_keys_that_cannot_be_read(tmp_path, caplog):
    file = tmp_path / "keys.json"
    with pytest.raises(KgrecError, match=r"there is no file of keys .*keys\.json; make one with `kgrec keys add NAME --file "):
        Access(file)
    secret, whole = Keys(file).add("shop"), file.read_text()
    access = Access(file)
    file.write_text(whole[:-9])  # half-written
    assert asked(access, secret) == asked(access, secret) == "shop"
    assert [of.message for of in caplog.records if "those of before stay" in of.message][1:] == []
    for door in (lambda: Access(file), lambda: Keys(file).add("other")):
        with pytest.raises(KgrecError, match="is no file of keys"):
            door()
    file.write_text("[]")
    refused(401, access, secret)
    file.write_text(whole)
    assert asked(access, secret) == "shop"
    file.unlink()
    refused(401, access, secret)


def test_tokens(tmp_path):
    private, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key())) | {"kid": "1", "alg": "ES256"}
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [public]}))
    access = Access(jwks=file, audience="kgrec")

    def token(key=private, algorithm="ES256", **said) -> str:
        claims = {"sub": "anna", "aud": "kgrec", "exp": time.time() + 60, "scope": "ask other"} | said
        return jwt.encode({k: v for k, v in claims.items() if v is not None}, key, algorithm, headers={"kid": "1"})

    assert asked(access, token()) == "anna"
    refused(403, access, token(), "edit")
    forged = token(key="x" * 64, algorithm="HS256")
    for wrong in (
        token(other),
        token(exp=time.time() - 60),
        token(exp=None),
        token(aud="else"),
        forged,
        token()[:-4] + "AAAA",
        token(key=None, algorithm="none"),
    ):
        refused(401, access, wrong)
    for scope in (5, None, {"ask": 1}, [["ask"]]):
        refused(403, access, token(scope=scope))
    assert asked(access, token(scope=["ask"])) == "anna"

    rotated = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(other.public_key())) | {"kid": "1", "alg": "ES256"}
    file.write_text("{}")
    assert asked(access, token()) == "anna"  # half-written
    with pytest.raises(KgrecError, match="is no JWKS file"):
        Access(jwks=file)
    file.write_text(json.dumps({"keys": [rotated]}))
    assert asked(access, token(other)) == "anna"
    refused(401, access, token())


def test_rate_and_quota(tmp_path):
    access = Access(rate=3, quota=4)
    caller = access.caller(None, {}, "ask")
    access.spend(caller, 3)
    with pytest.raises(Refused, match="3 requests a minute are used up") as caught:
        access.spend(caller, 1)
    assert caught.value.status == 429 and 1 <= int(caught.value.headers["Retry-After"]) <= 60


def test_without_keys_only_this_machine(tmp_path):
    for host in ("127.0.0.1", "::1", "localhost"):
        refuse_open_door(host, Access())
    for host in ("0.0.0.0", "::", "192.168.0.1", "example.org"):
        with pytest.raises(KgrecError, match="lets everybody in"):
            refuse_open_door(host, Access())
    Keys(tmp_path / "keys.json").add("shop")
    refuse_open_door("0.0.0.0", Access(tmp_path / "keys.json"))
    with pytest.raises(Refused, match="does not belong in the address"):
        Access().caller(None, {"Token": "x"}, "ask")


def test_no_log_holds_a_mail_address():
    import logging

    from kgrec_core.serving.process import Masked

    assert Caller("jo@example.com", frozenset()).shown == "<EMAIL>" and Caller("shop", frozenset()).shown == "shop"
    record = logging.LogRecord("kgrec", logging.ERROR, "f", 1, "no user %s", ("jo@example.com",), None)
    assert Masked("%(levelname)s %(message)s").format(record) == "ERROR no user <EMAIL>"
