"""Functions with side effects inside a reading statement are refused by name."""

import pytest

from handlers.data.binding import BadQuery
from handlers.data.reading import check_reads

ACTING = {
    "postgresql": "pg_wal_replay_pause pg_wal_replay_resume pg_file_write pg_file_unlink pg_stat_statements_reset "
    "pg_log_backend_memory_contexts pg_drop_replication_slot postgres_fdw_disconnect_all query_export_to_s3 "
    "http_post",
    "mysql": "service_get_write_locks asynchronous_connection_failover_add_source group_replication_set_as_primary "
    "keyring_key_remove set_firewall_mode audit_log_filter_set_user master_pos_wait source_pos_wait",
}
READING = {
    "postgresql": "pg_wal_lsn_diff pg_size_pretty pg_stat_get_numscans pg_relation_size",
    "mysql": "concat group_concat json_extract",
}


@pytest.mark.parametrize(("backend", "name"), [(each, name) for each in ACTING for name in ACTING[each].split()])
def test_a_function_that_acts_is_refused(backend: str, name: str) -> None:
    with pytest.raises(BadQuery, match=rf"{name}\(\) does more than read"):
        check_reads(backend, f"SELECT {name}('a', 'b') AS n")


@pytest.mark.parametrize(("backend", "name"), [(each, name) for each in READING for name in READING[each].split()])
def test_a_function_that_reads_is_taken(backend: str, name: str) -> None:
    check_reads(backend, f"SELECT {name}('a', 'b') AS n")
