"""What SQLite alone has to promise: the file, its form, and who can read it."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shared.errors import BadSettings, RecordUnreadable, StoreUnavailable
from shared.model.connections import AttemptId, ConnectionId
from shared.model.identity import OwnerDigest, Tenant, TenantRef, UserId
from shared.model.runs import Outcome, RunId
from shared.store.records import Record
from shared.store.sqlite import SqliteStore
from shared.store.sqlite_file import VERSION
from tests.contract.races_fixtures import WAIT_S, Gate, race_threads
from tests.contract.store_fixtures import (
    NOW,
    REF,
    ROWS,
    USER,
    SetClock,
    a_connection,
    a_run,
    a_tenant,
    a_user,
    an_attempt,
    hex_of,
    read,
    save,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def sqlite(path: Path, clock: SetClock) -> SqliteStore:
    return SqliteStore(path, clock)


@contextmanager
def by_hand(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as somebody with a database tool has it, in one transaction."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def open_umask() -> Iterator[None]:
    """A process that would let everybody read what it makes."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


# --- who can read it


def test_the_file_its_companions_and_new_folders_are_their_owners_alone(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "one" / "two" / "store.db"
    with open_umask():
        store = SqliteStore(path, clock)
        save(store, a_run())

    assert sorted(file.name for file in path.parent.iterdir()) == ["store.db", "store.db-shm", "store.db-wal"]
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    assert {mode(path.parent), mode(path.parent.parent)} == {0o700}


def test_a_file_that_others_could_read_is_closed_to_them(path: Path, clock: SetClock) -> None:
    keep = SqliteStore(path, clock)
    save(keep, a_run())
    files = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
    for file in files:
        file.chmod(0o644)
    SqliteStore(path, clock)

    assert [mode(file) for file in files] == [0o600] * 3


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path, clock: SetClock) -> None:
    tmp_path.chmod(0o755)
    SqliteStore(tmp_path / "store.db", clock)

    assert mode(tmp_path) == 0o755


@pytest.mark.parametrize("place", ["file/store.db", "folder", "pipe", "link"])
def test_a_place_where_no_file_can_be_stops_the_start_and_names_the_setting(
    tmp_path: Path, clock: SetClock, place: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir(mode=0o755)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(BadSettings, match=r"^STORE_PATH ") as refused:
        SqliteStore(tmp_path / place, clock)

    assert str(tmp_path) not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert mode(tmp_path / "folder") == 0o755


# --- the file's form


def found(folder: Path) -> dict[str, object]:
    """All that a start could leave a trace on."""
    return {file.name: (file.read_bytes(), mode(file), file.stat().st_mtime_ns) for file in folder.iterdir()}


def refused_as_it_is(path: Path, clock: SetClock) -> bool:
    """Whether the start stops for that file and leaves no trace on it, nor beside it."""
    path.chmod(0o644)
    before = found(path.parent)
    with pytest.raises(BadSettings, match=r"^STORE_PATH names something that is no store of this version\.$"):
        SqliteStore(path, clock)
    return found(path.parent) == before


@pytest.mark.parametrize("content", [b"", b"no database at all", os.urandom(8_192)], ids=["empty", "text", "noise"])
def test_a_file_of_another_kind_stops_the_start_and_stays_as_it_is(path: Path, clock: SetClock, content: bytes) -> None:
    path.write_bytes(content)

    assert refused_as_it_is(path, clock)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_another_products_database_stops_the_start_and_stays_as_it_is(
    path: Path, clock: SetClock, journal: str
) -> None:
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute(f"PRAGMA journal_mode = {journal}")
        foreign.execute("CREATE TABLE tenants (tenant, id, owner, connected_at, document, etag)")
        foreign.commit()

        assert refused_as_it_is(path, clock)


@pytest.mark.parametrize(
    "pragma", [f"user_version = {VERSION - 1}", f"user_version = {VERSION + 1}", "application_id = 7"]
)
def test_a_version_that_we_do_not_know_stops_the_start(path: Path, clock: SetClock, pragma: str) -> None:
    SqliteStore(path, clock)
    with by_hand(path) as connection:
        connection.execute(f"PRAGMA {pragma}")

    assert refused_as_it_is(path, clock)


def test_a_version_that_changes_after_the_start_is_a_store_that_is_away(path: Path, clock: SetClock) -> None:
    store = SqliteStore(path, clock)
    with by_hand(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")

    with pytest.raises(StoreUnavailable):
        store.ping()
    with pytest.raises(StoreUnavailable):
        save(store, a_tenant())


def test_a_file_that_is_cut_short_is_a_store_that_is_away(path: Path, clock: SetClock) -> None:
    for number in range(50):
        save(SqliteStore(path, clock), a_run(number))
    with by_hand(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:4_096] + b"\xff" * (len(whole) - 4_096))

    store = SqliteStore(path, clock)
    ways: list[Callable[[], object]] = [store.ping, lambda: read(store, a_run(7)), lambda: save(store, a_run(99))]
    for asked in ways:
        with pytest.raises(StoreUnavailable):
            asked()


def test_a_file_that_has_gone_is_not_made_again_behind_our_back(path: Path, clock: SetClock) -> None:
    store = SqliteStore(path, clock)
    path.unlink()
    with pytest.raises(StoreUnavailable):
        store.ping()

    assert not path.exists()


def test_a_start_that_loses_the_race_for_the_file_leaves_no_draft_of_it(path: Path, clock: SetClock) -> None:
    SqliteStore(path, clock)
    SqliteStore(path, clock).ping()

    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1), ("trusted_schema", 0), ("busy_timeout", 5_000)],
)
def test_every_connection_has_the_safe_settings(sqlite: SqliteStore, pragma: str, value: object) -> None:
    sqlite.ping()
    with sqlite._file._connection() as connection:  # noqa: SLF001  no other way to see what a connection was told
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_what_was_deleted_is_overwritten(path: Path, sqlite: SqliteStore, clock: SetClock) -> None:
    saved = save(sqlite, an_attempt(expires_at=NOW + 1))
    clock.now += 1
    save(sqlite, a_run())
    with by_hand(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    assert an_attempt().id.encode() not in path.read_bytes()
    assert saved.etag is not None
    assert saved.etag.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ("SELECT tenant FROM tenants WHERE id = 't:' || tenant", "tenants_all"),
        (
            "SELECT document FROM tenants WHERE tenant = 'a' AND owner = 'b' ORDER BY connected_at, id",
            "tenants_by_owner",
        ),
        ("SELECT document FROM runs WHERE tenant = 'a' AND outcome = 'started' AND started_at < 5", "runs_started"),
        ("DELETE FROM attempts WHERE expires_at <= 5", "attempts_by_end"),
    ],
)
def test_every_search_has_its_index(path: Path, sqlite: SqliteStore, question: str, index: str) -> None:
    sqlite.ping()
    with by_hand(path) as connection:
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {question}").fetchall())

    assert index in plan
    assert "TEMP B-TREE" not in plan


# --- rows that somebody changed by hand


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"kind":"tenant"}', '{"a":1,"a":1}', "NaN", "[" * 100_000])
@pytest.mark.parametrize("record", ROWS, ids=lambda row: type(row).__name__)
def test_a_document_of_any_other_form_is_unreadable(path: Path, sqlite: SqliteStore, record: Record, text: str) -> None:
    save(sqlite, record)
    with by_hand(path) as connection:
        for table in ("tenants", "runs", "attempts"):
            connection.execute(f"UPDATE {table} SET document = ?", (text,))  # noqa: S608  our own names

    with pytest.raises(RecordUnreadable):
        read(sqlite, record)


def test_a_document_that_says_a_thing_twice_is_unreadable(path: Path, sqlite: SqliteStore) -> None:
    save(sqlite, a_run())
    with by_hand(path) as connection:
        connection.execute("""UPDATE runs SET document = replace(document, '{', '{"outcome":"success",')""")

    with pytest.raises(RecordUnreadable):
        read(sqlite, a_run())


@pytest.mark.parametrize("time", ["'soon'", "9e999", "x'00'"])
def test_a_time_of_writing_that_is_none_is_unreadable(path: Path, sqlite: SqliteStore, time: str) -> None:
    save(sqlite, a_connection())
    with by_hand(path) as connection:
        connection.execute(f"UPDATE tenants SET saved_at = {time}")  # noqa: S608  our own values

    with pytest.raises(RecordUnreadable):
        read(sqlite, a_connection())


OTHER = hex_of(9)


@pytest.mark.parametrize(
    ("row", "change", "ask"),
    [
        (a_tenant(), f"tenants SET tenant = '{OTHER}'", lambda s: s.tenant(TenantRef(OTHER)).tenant()),
        (a_user(), f"tenants SET id = 'u:{OTHER}'", lambda s: s.tenant(REF).user(OwnerDigest(OTHER))),
        (
            a_connection(),
            f"tenants SET id = 'c:{OTHER}'",
            lambda s: s.tenant(REF).tenant_and_connection(ConnectionId(OTHER)),
        ),
        (
            a_connection(),
            f"tenants SET owner = '{OTHER}'",
            lambda s: s.tenant(REF).connections(OwnerDigest(OTHER)),
        ),
        (a_run(), f"runs SET user = '{OTHER}'", lambda s: s.tenant(REF).run(UserId(OTHER), a_run().id)),
        (a_run(), f"runs SET id = '{OTHER}'", lambda s: s.tenant(REF).run(USER, RunId(OTHER))),
        (an_attempt(), f"attempts SET id = '{OTHER * 2}'", lambda s: s.attempt(AttemptId(OTHER * 2)).read()),
    ],
)
def test_a_row_that_was_moved_to_another_place_is_unreadable(
    path: Path, sqlite: SqliteStore, row: Record, change: str, ask: Callable[[SqliteStore], object]
) -> None:
    save(sqlite, row)
    with by_hand(path) as connection:
        # A tenant's row is found by its ref, which stands in both columns.
        connection.execute(f"UPDATE {change}" + (f", id = 't:{OTHER}'" if isinstance(row, Tenant) else ""))

    with pytest.raises(RecordUnreadable):
        ask(sqlite)


def test_an_ended_run_that_was_moved_among_the_stale_ones_is_unreadable(path: Path, sqlite: SqliteStore) -> None:
    save(sqlite, a_run().ended(Outcome.SUCCESS, NOW))
    with by_hand(path) as connection:
        connection.execute("UPDATE runs SET outcome = 'started'")

    assert sqlite.tenant(REF).stale_runs(NOW + 1, 9) == [None]


# --- when others are writing, or something breaks in between


def test_a_change_that_waits_too_long_is_a_store_that_is_away_and_the_next_one_works(
    path: Path, clock: SetClock
) -> None:
    impatient = SqliteStore(path, clock, busy_s=0.05)
    save(impatient, a_tenant())
    with by_hand(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            save(impatient, a_run())

    assert save(impatient, a_run()).etag


def test_threads_that_wait_too_long_for_their_turn_are_all_told(path: Path, clock: SetClock) -> None:
    impatient = SqliteStore(path, clock, busy_s=0.05)

    def told(gate: Gate, number: int) -> bool:
        gate.wait(WAIT_S)
        with pytest.raises(StoreUnavailable):
            save(impatient, a_run(number))
        return True

    with by_hand(path) as other:
        other.execute("BEGIN IMMEDIATE")
        assert race_threads(told, [(number,) for number in range(8)]) == [True] * 8


def test_nobody_waits_to_read_while_another_writes(path: Path, clock: SetClock) -> None:
    impatient = SqliteStore(path, clock, busy_s=0.05)
    saved = save(impatient, a_tenant())
    with by_hand(path) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM tenants")

        assert read(impatient, saved) == saved
        other.rollback()


def test_a_change_that_breaks_off_leaves_nothing_behind(path: Path) -> None:
    class BrokenOnce(SetClock):
        breaks = False

        def __call__(self) -> int:
            if self.breaks:
                self.breaks = False
                raise RuntimeError
            return self.now

    clock = BrokenOnce()
    store = SqliteStore(path, clock)
    clock.breaks = True
    with pytest.raises(RuntimeError):
        save(store, a_run())

    assert read(store, a_run()) is None
    assert save(store, a_run()).etag


def test_what_goes_wrong_is_told_in_our_own_words(path: Path, clock: SetClock) -> None:
    store = SqliteStore(path, clock)
    path.write_bytes(b"no database at all")
    with pytest.raises(StoreUnavailable) as away:
        store.ping()

    assert str(away.value) == StoreUnavailable.title
    assert (away.value.__cause__, away.value.__suppress_context__) == (None, True)
