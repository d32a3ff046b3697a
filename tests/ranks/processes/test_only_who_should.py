"""Who may speak to the ranks: processes of this user on this machine, with the key, and nobody else."""

from __future__ import annotations

import ipaddress
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import ipyparallel as ipp
import psutil
import pytest
import zmq
from network_namespace import report
from rank_processes import folders, with_temp

from lab_utils import start_ranks
from lab_utils.ranks import Ranks

ANSWER_S = 600.0
NO_ANSWER_S = 0.5  # one with the keys is answered within hundredths


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temp")


@pytest.fixture(scope="module")
def ranks(place: Path) -> Iterator[Ranks]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(place))
        patch.setenv("TMPDIR", str(place))
        with start_ranks(1) as ranks:
            yield ranks


@pytest.fixture(scope="module")
def processes(place: Path, ranks: Ranks) -> set[psutil.Process]:
    """Theirs alone: other tests' ranks may live in the same process."""
    return with_temp(place)


@pytest.fixture
def connection(ranks: Ranks, place: Path) -> dict:
    """What a client reads to find the controller and to be let in."""
    (folder,) = folders(place)
    return json.loads((folder / "profile-0/security/ipcontroller-lab-client.json").read_text(encoding="utf-8"))


def _client(connection: dict, folder: Path, timeout_s: float = ANSWER_S) -> ipp.Client:
    file = folder / "client.json"
    file.write_text(json.dumps(connection), encoding="utf-8")
    return ipp.Client(str(file), timeout=timeout_s)


# ------------------------------------------------------------------ where they listen
@pytest.fixture(scope="module")
def seen() -> dict:
    """Of ranks that run DDP, in a notebook of JupyterLab, of a user whose own servers are open to all."""
    return report()


def test_everything_listens_on_loopback_only(seen: dict) -> None:
    before, after = ({tuple(each) for each in seen[when]} for when in ("before", "after"))
    assert seen["said"] == "[2, 2]\n"
    assert seen["server"] in {port for _, port in before}
    assert len(after - before) >= 12  # the controller's and one or more of each rank
    assert [address for address, _ in after if not ipaddress.ip_address(address).is_loopback] == []


def test_nothing_answers_in_another_network_namespace(seen: dict) -> None:
    ports = {port for _, port in seen["after"]}
    assert len(ports) >= 14 and seen["control"] not in ports
    assert seen["answers"] == {str(seen["control"]): "answered"}


# ------------------------------------------------------------------ who may read their files
def test_files_and_sockets_are_private_to_the_user(processes: set[psutil.Process], place: Path) -> None:
    (folder,) = folders(place)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    keys = sorted((folder / "profile-0/security").iterdir())
    assert [(file.name, stat.S_IMODE(file.stat().st_mode)) for file in keys] == [
        ("ipcontroller-lab-client.json", 0o600),
        ("ipcontroller-lab-engine.json", 0o600),
    ]
    named = {c.laddr for process in processes for c in process.net_connections("unix") if c.laddr}
    assert any(name.startswith(f"{folder}/guard-0-") for name in named)
    assert [name for name in named if not name.startswith(f"{folder}/")] == []


def test_no_command_line_shows_a_key(processes: set[psutil.Process], connection: dict) -> None:
    shown = " ".join(word for process in processes for word in process.cmdline())
    assert "ipyparallel.controller" in shown
    assert connection["key"] not in shown
    assert connection["curve_serverkey"] not in shown


# ------------------------------------------------------------------ whose messages they take
def test_a_message_with_another_key_is_not_executed(ranks: Ranks, connection: dict, tmp_path: Path) -> None:
    """The rank takes messages of one client in order: when it has answered the second, it has refused the first."""
    assert len(connection["key"]) == 64
    with _client(connection, tmp_path) as client:
        key, rank = client.session.key, client[0]
        client.session.key = b"guessed"
        with rank.temp_flags(track=True):  # signed in another thread, just before it is sent
            rank.apply_async(_touch, str(tmp_path / "guessed")).wait_for_send(ANSWER_S)
        client.session.key = key
        assert rank.apply_sync(_touch, str(tmp_path / "known")) is None
    assert [(tmp_path / name).exists() for name in ("guessed", "known")] == [False, True]


def _touch(path: str) -> None:
    open(path, "w", encoding="utf-8").close()


@pytest.mark.parametrize("wrong", [None, zmq.curve_keypair()[0].decode()], ids=["no key", "another key"])
def test_a_client_without_the_encryption_key_gets_no_answer(
    ranks: Ranks, connection: dict, tmp_path: Path, wrong: str | None
) -> None:
    with pytest.raises(TimeoutError):
        _client({**connection, "curve_serverkey": wrong}, tmp_path, NO_ANSWER_S)
    with _client(connection, tmp_path) as client:
        assert client.ids == [0]
