"""What the folder of keys has to promise: who can read it, and that it is whole."""

import os
import stat
from pathlib import Path

import pytest

from shared.errors import BadSettings, KeysUnavailable
from shared.keys.local import LocalKeyring
from shared.model.sealed import Place
from tests.contract.store_fixtures import OTHER_REF, REF, SetClock

PLACE = Place("grant", "record")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "one" / "keys"


def opened(folder: Path) -> LocalKeyring:
    return LocalKeyring(folder, os.urandom, SetClock())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_files_are_their_owners_alone_whatever_the_process_allows(folder: Path) -> None:
    before = os.umask(0)
    try:
        opened(folder).mint(REF, 1)
    finally:
        os.umask(before)

    assert {mode(folder), mode(folder.parent)} == {0o700}
    assert {mode(file) for file in folder.iterdir()} == {0o600}


def test_a_file_is_named_by_ref_generation_and_version_and_no_draft_is_left(folder: Path) -> None:
    keyring = opened(folder)
    for tenant, generation in ((REF, 1), (REF, 2), (OTHER_REF, 1)):
        keyring.mint(tenant, generation)

    names = {file.name for file in folder.iterdir()}
    assert names == {"pepper", f"{REF}.1.1", f"{REF}.2.1", f"{OTHER_REF}.1.1"}


def test_every_secret_is_256_bits_of_its_own(folder: Path) -> None:
    keyring = opened(folder)
    keyring.mint(REF, 1)
    keyring.mint(REF, 2)
    secrets = [file.read_bytes() for file in folder.iterdir()]

    assert [len(secret) for secret in secrets] == [32] * 3
    assert len(set(secrets)) == 3


@pytest.mark.parametrize("looser", [0o640, 0o604, 0o620, 0o602, 0o644])
@pytest.mark.parametrize("file", ["pepper", f"{REF}.1.1"])
def test_a_file_that_others_can_reach_stops_the_start_and_names_the_setting(
    folder: Path, file: str, looser: int
) -> None:
    opened(folder).mint(REF, 1)
    (folder / file).chmod(looser)

    with pytest.raises(BadSettings, match="KEYS_PATH") as refused:
        opened(folder)
    assert str(folder) not in str(refused.value)


@pytest.mark.parametrize("looser", [0o750, 0o705, 0o710, 0o755])
def test_a_folder_that_others_can_reach_stops_the_start_and_names_the_setting(folder: Path, looser: int) -> None:
    opened(folder)
    folder.chmod(looser)

    with pytest.raises(BadSettings, match="KEYS_PATH"):
        opened(folder)


def test_a_folder_that_others_can_reach_gets_no_pepper(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with pytest.raises(BadSettings):
        opened(folder)

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_pepper_of_another_size_stops_the_start(folder: Path, content: bytes) -> None:
    opened(folder)
    (folder / "pepper").write_bytes(content)

    with pytest.raises(BadSettings, match="KEYS_PATH"):
        opened(folder)


def test_a_file_in_the_folders_place_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").touch(mode=0o600)
    for place in (tmp_path / "keys", tmp_path / "keys" / "below"):
        with pytest.raises(BadSettings, match="KEYS_PATH"):
            opened(place)


@pytest.mark.parametrize("content", [b"", b"x" * 16, b"x" * 33])
def test_a_key_of_another_size_is_none(folder: Path, content: bytes) -> None:
    keyring = opened(folder)
    keyring.mint(REF, 1)
    (folder / f"{REF}.1.1").write_bytes(content)

    with pytest.raises(KeysUnavailable):
        keyring.sealer(REF, 1).seal(PLACE, b"secret")


@pytest.mark.parametrize(
    "name", ["{}.1.0", "{}.1.x", "{}.1.", "{}.1.1.bak", ".{}.1.1.0123", "{}.1.01", "{}.1.-1", "{}.1.²"]
)
def test_a_file_of_another_name_is_no_key(folder: Path, name: str) -> None:
    keyring = opened(folder)
    (folder / name.format(REF)).write_bytes(os.urandom(32))

    with pytest.raises(KeysUnavailable):
        keyring.sealer(REF, 1).seal(PLACE, b"secret")


def test_a_pepper_that_was_exchanged_under_us_is_noticed(folder: Path) -> None:
    keyring = opened(folder)
    digest = keyring.digest("a", "b")
    (folder / "pepper").write_bytes(os.urandom(32))

    with pytest.raises(KeysUnavailable):
        keyring.ping()
    assert keyring.digest("a", "b") == digest


def test_the_keyring_and_all_that_it_hands_out_show_no_secret(folder: Path) -> None:
    keyring = opened(folder)
    keyring.mint(REF, 1)
    sealer = keyring.sealer(REF, 1)
    sealer.seal(PLACE, b"secret")
    shown = "".join((repr(keyring), str(keyring), repr(sealer), repr(keyring._kept)))  # noqa: SLF001

    for file in folder.iterdir():
        secret = file.read_bytes()
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
