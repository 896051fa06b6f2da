"""The fault matrix: what is done to the server, what must happen, and which tests and long scenarios prove it.

`make faults` runs them and writes docs/fault-matrix.md. `test_matrix.py` looks that every test that is named exists.
"""

from typing import NamedTuple

KILLS = "tests/faults/test_kills.py::"
HINTS = "tests/faults/test_hints.py::"
DISK = "tests/faults/test_disk.py::"
NETWORKS = "tests/faults/test_networks.py::"
READERS = "tests/faults/test_readers.py::"
REDIS = "tests/faults/test_redis.py::"
FRAMES = "tests/end_to_end/test_bad_frames.py::"
RESUME = "tests/end_to_end/test_resume.py::"
PYTHON = "tests/end_to_end/test_clients_python.py::"
REVOKED = "tests/revocation/"


class Row(NamedTuple):
    done: str
    must: str
    tests: tuple[str, ...] = ()
    # Names of long scenarios (`long.py`).
    long: tuple[str, ...] = ()


ROWS = (
    Row(
        "`kill -9` before the commit, after it, before the replies go out, in mid-subscribe, in mid-page, and at random, under load",
        "no acknowledged record lost; a retry with its key gets the same offset; subscribers get it once; serving again in 3 s",
        (f"{KILLS}test_kills_under_load_lose_and_double_nothing",),
        ("kills",),
    ),
    Row(
        "an fsync fails, before or after the record is stored",
        "the temporary error 100, then the process ends with status 1; a retry is stored once",
        (f"{DISK}test_a_failed_fsync_is_an_unknown_outcome_and_ends_the_process",),
    ),
    Row(
        "the disk is full while publishing",
        "507 and no offset used up; reading, resuming and live delivery go on; with room again publishing works without a restart",
        (
            f"{DISK}test_a_full_disk_refuses_publishes_and_nothing_else",
            "tests/test_disk.py::test_nothing_is_stored_and_no_offset_used_up_until_there_is_room",
            "tests/test_disk.py::test_the_server_goes_on_reading_and_delivering_and_then_writing",
        ),
    ),
    Row(
        "another process holds the write lock",
        "publishes wait, or answer 100 at the time-out; reads, replays and pings of everyone go on",
        (f"{DISK}test_a_held_write_lock_delays_publishes_and_nothing_else", f"{DISK}test_a_lock_held_for_too_long_is_a_temporary_error"),
        ("write lock",),
    ),
    Row(
        "every hint, every second or every seventh is dropped; all are doubled, delayed by up to 500 ms, or out of order",
        "everyone sees every record once, in order; the last one before silence within 2 s",
        (
            f"{HINTS}test_everybody_sees_everything_whatever_becomes_of_the_hints",
            "tests/test_hub.py::test_every_client_sees_every_record_once_in_order_whatever_happens_to_the_hints",
            "tests/test_hub.py::test_a_lost_last_hint_is_made_up_for_within_two_seconds",
        ),
    ),
    Row(
        "a burst of 10,000 records",
        "no loss, and no queue without bound",
        (f"{HINTS}test_a_burst_loses_nothing_and_queues_without_a_bound_nowhere",),
    ),
    Row(
        "Redis is killed and comes back empty; Redis hangs; one of two servers is killed",
        "no socket closed; acknowledgements go on at the same pace; everybody has caught up 5 s after",
        (f"{REDIS}test_redis_dies_and_comes_back_empty", f"{REDIS}test_redis_hangs", f"{REDIS}test_one_of_two_servers_is_killed"),
        ("redis",),
    ),
    Row(
        "the wall clock jumps a day back and ahead; the process stands still for a while",
        "no order changes, nobody loses a record",
        (
            "tests/faults/test_clocks.py::test_a_wall_clock_that_jumps_by_a_day",
            "tests/faults/test_clocks.py::test_a_process_that_stands_still_and_goes_on",
        ),
    ),
    Row(
        "publishes at each step of a subscribe, over and over",
        "no gap and no duplicate",
        (
            "tests/faults/test_subscribing.py::test_publishes_in_the_middle_of_subscribes_leave_no_gap",
            "tests/test_session_subscribe.py::test_a_record_committed_while_one_subscribes_arrives_once",
        ),
        ("subscribes",),
    ),
    Row(
        "resume at 0, the head, the head + 1, far ahead, a trimmed position, another epoch",
        "all, nothing, and four times plainly not recovered, with no part of anything",
        (
            f"{RESUME}test_a_kept_position_gets_what_follows_it",
            f"{RESUME}test_a_lost_position_is_told_so_and_gets_no_part",
            f"{RESUME}test_a_lost_position_is_an_error_to_who_asks_for_that",
        ),
    ),
    Row(
        "resume from far behind (20,000 records in every run, 100,000 in the long round)",
        "all of them, in bounded memory, while others publish",
        (f"{RESUME}test_a_reader_far_behind_catches_up_in_bounded_memory_while_others_publish",),
        ("far behind",),
    ),
    Row(
        "connections reset under load; 500 ms each round trip; black holes; one direction stalls",
        "histories stay valid; a vanished peer is gone within 40 s, its presence within 60 s",
        (
            f"{NETWORKS}test_resets_under_load",
            f"{NETWORKS}test_half_a_second_each_way_and_back",
            f"{NETWORKS}test_who_is_cut_off_is_gone_soon_and_resumes_when_the_cut_is_over",
            f"{NETWORKS}test_a_cut_that_tcp_survives_is_not_even_noticed",
        ),
        ("soak", "black hole"),
    ),
    Row(
        "readers stop, trickle at 1 and 8 KiB/s, vanish, answer pings late, never or unasked; on both servers and through nginx",
        "each costs 1.5 MiB at most; those that answer nothing are closed within 45 s, those that answer are served on",
        (
            f"{READERS}test_readers_without_manners",
            "tests/end_to_end/test_slow_readers.py::test_readers_that_stop_delay_nobody_cost_little_and_are_closed",
            "tests/end_to_end/test_slow_readers.py::test_a_reader_that_trickles_is_served_on",
            "tests/end_to_end/test_slow_readers.py::test_one_that_vanishes_while_idle_is_gone_soon",
        ),
        ("stuck readers", "stuck among 1,000"),
    ),
    Row(
        "a client sends 800 MiB to a session that does not read",
        "the sender waits; the memory stays flat",
        (f"{READERS}test_a_sender_that_is_not_read_costs_no_memory",),
    ),
    Row(
        "SIGTERM or SIGINT with 1,000 connections, 100 publishing, one stuck",
        "in-flight publishes answered; every socket closed with 3001; no presence left; exit 0 in 10 s",
        (
            "tests/faults/test_stopping.py::test_it_stops_with_a_thousand_connections_while_a_hundred_publish_and_one_is_stuck",
            "tests/end_to_end/test_serve.py::test_a_second_signal_ends_it_at_once",
            "tests/end_to_end/test_serve.py::test_a_locked_database_does_not_hold_the_end",
        ),
        ("stops",),
    ),
    Row("5,000 clients return at once, each 100 behind", "all caught up in 30 s (Daphne 45 s), none refused for good", (), ("storm",)),
    Row(
        "the same key twice, 50 at once, after a restart, with another payload",
        "one row and one offset; another payload under a used key is error 107",
        (
            f"{PYTHON}test_fifty_at_once_with_one_key_are_one_record",
            f"{PYTHON}test_a_publish_with_a_key_tells_the_offset_and_is_stored_once",
            "tests/test_group_commit.py::test_a_retry_after_a_restart_gets_the_first_offset",
        ),
    ),
    Row(
        "a batch with one bad item",
        "the good ones are stored, the bad one gets its own error; offsets dense",
        ("tests/test_journal.py::test_a_bad_item_fails_alone_and_offsets_stay_dense",),
    ),
    Row(
        "pruning during replay and publishing; a prune to empty",
        "a replay completes or is told plainly that it cannot; offsets are never reused",
        (
            "tests/test_retention.py::test_a_replay_is_complete_when_it_is_past_what_is_pruned",
            "tests/test_retention.py::test_a_replay_that_is_overtaken_ends_and_never_leaps",
            "tests/test_retention.py::test_offsets_go_on_after_everything_was_removed",
        ),
    ),
    Row(
        "malformed JSON, wrong types, unknown commands, depth, NaN, surrogates, NUL, bad UTF-8, 1 MiB messages, names that cannot be",
        "the stated error or close code; nothing stored; no traceback; others unaffected",
        (
            f"{FRAMES}test_a_frame_that_makes_no_sense_is_closed_with_3501",
            f"{FRAMES}test_a_message_over_the_limit_is_closed_with_1009",
            f"{FRAMES}test_a_name_that_none_can_have_is_107",
            "tests/test_poison.py::test_a_poisoned_payload_is_refused_and_a_sound_one_comes_back_as_it_was",
            "tests/test_poison.py::test_poison_in_a_label_is_refused_at_every_door",
        ),
    ),
    Row(
        "too many subscriptions, connections, commands, publishes or bad messages",
        "the code of each limit; the connection stays, or is told to come back",
        (
            f"{FRAMES}test_one_subscription_too_many_is_106",
            "tests/faults/test_greed.py::test_thousands_of_subscribes_on_one_socket",
            "tests/test_session_limits.py::test_a_person_has_so_many_connections_and_a_place_that_is_left_is_free",
            "tests/test_session_limits.py::test_a_command_over_the_rate_is_refused_for_a_moment",
            "tests/test_session_limits.py::test_the_publishes_of_a_person_are_counted_together",
            "tests/test_session_limits.py::test_too_many_bad_messages_end_it_for_good",
        ),
    ),
    Row(
        "sign-out, password change, disabled user, revoked key, removed membership; idle, replaying, publishing, subscribing, away",
        "closed or unsubscribed within 2 s, within 60 s when the notice was lost; nothing delivered after",
        (
            f"{REVOKED}test_changes.py::test_whoever_is_concerned_is_told_and_hears_nothing_more",
            f"{REVOKED}test_changes.py::test_when_the_notice_is_lost_the_look_of_every_minute_finds_out",
            f"{REVOKED}test_states.py::test_in_the_middle_of_a_replay",
            f"{REVOKED}test_states.py::test_with_a_publish_in_flight_its_commit_is_answered_first",
            f"{REVOKED}test_states.py::test_away_and_coming_back",
            "tests/end_to_end/test_revocation.py::test_the_sockets_of_every_process_end",
        ),
    ),
    Row(
        "every command by every kind of identity on own, foreign and missing streams",
        "one table decides; missing and forbidden look the same",
        ("tests/test_access.py::test_the_table", "tests/test_access.py::test_missing_and_forbidden_get_the_same_error"),
    ),
    Row(
        "handshakes of other hosts, ports and schemes, of `null`, of tricks with prefix and suffix; a bad Host; a cookie without an Origin",
        "refused before any session or row is read",
        (
            f"{FRAMES}test_a_foreign_origin_is_closed_with_3507",
            f"{FRAMES}test_a_bad_host_is_closed_with_3507",
            f"{FRAMES}test_a_cookie_without_an_origin_is_closed_with_3507",
            "tests/test_consumers.py::test_a_foreign_page_is_accepted_and_closed_before_anything_is_read",
        ),
    ),
    Row(
        "wrong keys; the right prefix with a wrong rest",
        "refused the same, compared in constant time, never logged",
        (
            "tests/test_key_doors.py::test_a_key_that_is_not_valid_is_refused_the_same_whatever_is_wrong_with_it",
            "tests/end_to_end/test_api.py::test_the_right_prefix_with_a_wrong_rest_is_refused",
            "tests/end_to_end/test_api.py::test_keys_are_not_taken_from_the_url_and_never_logged",
        ),
    ),
    Row(
        "markup in payloads, names and labels",
        "inert on pages and in the admin",
        (
            "tests/test_views.py::test_what_people_write_never_becomes_markup",
            "tests/test_admin.py::test_markup_in_names_and_payloads_is_shown_and_not_obeyed",
        ),
    ),
    Row(
        "a page follows every kind of record through a kill",
        "it shows what a page shows that is opened at the end",
        ("tests/faults/test_pages.py::test_following_and_opening_anew_show_the_same",),
    ),
    Row(
        "line ends and terminal escapes in names, agents and close reasons",
        "one event is one log line, escaped",
        ("tests/test_logs.py::test_what_a_client_sent_cannot_start_a_line_or_drive_a_terminal",),
    ),
)
