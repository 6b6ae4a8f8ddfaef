"""What is looked at when the parts are built, so that a broken place stops the start and not each request."""

import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from shared.compose import UseCases, build
from shared.errors import BadSettings
from shared.settings import load

Start = Callable[..., UseCases]
HOUR = 3_600_000


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Builds the app over a folder of its own, with settings by their environment names."""
    fit = {
        "ENVIRONMENT": "development",
        "GOOGLE_CLIENT_IDS": "42-abc.apps.googleusercontent.com",
        "RETURN_CHANNELS": "outlook=http://localhost:3000/done",
        "SALESFORCE_CLIENT_ID": "client-id",
        "SALESFORCE_CLIENT_SECRET": "client-secret",
        "SALESFORCE_REDIRECT_URI": "http://127.0.0.1:7071/v1/oauth/salesforce/callback",
        "STORE_PATH": str(tmp_path / "store.sqlite"),
        "KEYS_PATH": str(tmp_path / "keys"),
        "STALE_RUN_SCHEDULE": "0 */5 * * * *",
    }
    return lambda **given: build(load(fit | given))


def empty_file(place: Path) -> None:
    place.touch()


def foreign_file(place: Path) -> None:
    place.write_text("no store at all")


def revocations_alone(place: Path) -> None:
    """A file that a TLS context loads, and by which nobody is trusted."""
    day = datetime(2026, 1, 1, tzinfo=UTC)
    crl = x509.CertificateRevocationListBuilder(x509.Name([]), day, day + timedelta(1))
    place.write_bytes(crl.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.PEM))


def folder(place: Path) -> None:
    place.mkdir()


def nothing(place: Path) -> None:
    assert not place.exists()


def off_by(ms: int) -> int:
    return time.time_ns() // 1_000_000 + ms


@pytest.mark.parametrize(
    ("name", "make"),
    [
        *(("CA_BUNDLE", make) for make in (nothing, empty_file, foreign_file, revocations_alone, folder)),
        *(("STORE_PATH", make) for make in (empty_file, foreign_file, folder)),
        *(("CLOCK_FILE", make) for make in (nothing, empty_file, foreign_file, folder)),
    ],
)
def test_a_place_that_cannot_be_used_stops_the_start_with_one_sentence_and_stays_as_it_is(
    start: Start, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    place = tmp_path / "place"
    make(place)
    before = place.exists() and place.stat()
    with pytest.raises(BadSettings, match=rf"^{name} [^\n]*\.$") as refused:
        start(**{name: str(place)})

    assert "place" not in str(refused.value).replace("a place", "")
    assert refused.value.__cause__ is None
    if before:
        assert (stat.S_IMODE(place.stat().st_mode), place.stat().st_mtime_ns) == (
            stat.S_IMODE(before.st_mode),
            before.st_mtime_ns,
        )
    else:
        assert not place.exists()


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1h", "\x00"])
def test_a_clock_that_would_be_moved_by_no_number_stops_the_start(start: Start, tmp_path: Path, text: str) -> None:
    moved = tmp_path / "clock"
    moved.write_text(text)
    with pytest.raises(BadSettings, match=r"^CLOCK_FILE "):
        start(CLOCK_FILE=str(moved))


def test_the_clock_follows_its_file_and_keeps_what_it_last_read(start: Start, tmp_path: Path) -> None:
    moved = tmp_path / "clock"
    moved.write_text(" 3600\n")
    clock = start(CLOCK_FILE=str(moved)).clock
    assert abs(clock() - off_by(HOUR)) < HOUR // 4

    moved.write_text("-7200.5")
    assert abs(clock() - off_by(-2 * HOUR)) < HOUR // 4
    for unreadable in ("", "soon", "nan", "inf"):
        moved.write_text(unreadable)
        assert abs(clock() - off_by(-2 * HOUR)) < HOUR // 4
    moved.unlink()
    assert abs(clock() - off_by(-2 * HOUR)) < HOUR // 4

    moved.write_text("0")
    assert abs(clock() - off_by(0)) < HOUR // 4
