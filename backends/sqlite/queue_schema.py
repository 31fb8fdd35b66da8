"""The embedded queue's tables, and why each index is there.

`state` holds the numbers of `STATES`. A successor (same dedup id as a job in flight) is a delayed
job with `follows` set: it becomes due when the first one ends. `hold` is the offset that the job
or the parked record keeps from being settled, until the log has its end; what dies once more after
that holds nothing. `counts` is kept by triggers, so that counting costs the same at any backlog and
cannot drift from the rows.
"""

from forebay.backends.ports import JobState
from forebay.backends.sqlite.store import Schema

PENDING, DELAYED, RETRYING, IN_FLIGHT, DEAD, PARKED = range(6)

STATES = {
    JobState.PENDING: PENDING,
    JobState.DELAYED: DELAYED,
    JobState.RETRYING: RETRYING,
    JobState.IN_FLIGHT: IN_FLIGHT,
    JobState.DEAD: DEAD,
    JobState.PARKED: PARKED,
}

SCHEMA = Schema(
    kind="queue",
    mark=0x46625175,  # "FbQu"
    version=4,
    script="""
        CREATE TABLE topics (
            topic TEXT PRIMARY KEY, epoch TEXT NOT NULL,
            generation INTEGER NOT NULL, ordinal INTEGER NOT NULL,  -- the fence: the newest token
            leases INTEGER NOT NULL DEFAULT 0                       -- lease epochs given out
        ) WITHOUT ROWID;
        CREATE TABLE marks (
            topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
            PRIMARY KEY (topic, partition)
        ) WITHOUT ROWID;
        CREATE TABLE checkpoints (       -- what stood where the relay went past
            topic TEXT NOT NULL, partition INTEGER NOT NULL,
            offset INTEGER NOT NULL, checksum INTEGER NOT NULL, timestamp INTEGER NOT NULL,
            PRIMARY KEY (topic, partition, offset)
        ) WITHOUT ROWID;
        CREATE TABLE restored (          -- what had ended before the queue forgot, from the mark on
            topic TEXT NOT NULL, partition INTEGER NOT NULL, low INTEGER NOT NULL, ended BLOB NOT NULL,
            PRIMARY KEY (topic, partition)
        ) WITHOUT ROWID;
        CREATE TABLE workers (
            topic TEXT NOT NULL, worker TEXT NOT NULL,
            sequence INTEGER NOT NULL,  -- of its newest claim call
            lease_end REAL,             -- on this process's monotonic clock; NULL: lapsed
            PRIMARY KEY (topic, worker)
        ) WITHOUT ROWID;
        CREATE TABLE counts (
            topic TEXT NOT NULL, state INTEGER NOT NULL, jobs INTEGER NOT NULL,
            PRIMARY KEY (topic, state)
        ) WITHOUT ROWID;
        CREATE TABLE jobs (
            number INTEGER PRIMARY KEY,  -- grows with insertion: the order of jobs ready together
            topic TEXT NOT NULL, id TEXT NOT NULL, state INTEGER NOT NULL,
            ready_at INTEGER NOT NULL,   -- Unix ms: when it may start, or may start again
            follows INTEGER NOT NULL DEFAULT 0,
            dedup TEXT,
            worker TEXT, sequence INTEGER, epoch INTEGER,  -- its lease, while in flight
            attempt INTEGER NOT NULL DEFAULT 0,
            partition INTEGER NOT NULL, offset INTEGER NOT NULL, hold INTEGER,
            type TEXT NOT NULL, enqueued_at INTEGER NOT NULL,
            error TEXT, headers BLOB, args BLOB NOT NULL,
            died_at INTEGER              -- Unix ms, until the log has its end
        );
        CREATE TABLE parked (
            id TEXT PRIMARY KEY,
            topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
            parked_at INTEGER NOT NULL, error TEXT NOT NULL, headers BLOB, value BLOB NOT NULL,
            hold INTEGER, unwritten INTEGER NOT NULL  -- 1: until the log has it
        );

        CREATE UNIQUE INDEX jobs_id ON jobs (topic, id);
        -- browse
        CREATE INDEX jobs_state ON jobs (topic, state, id);
        CREATE INDEX parked_topic ON parked (topic, id);
        -- claim
        CREATE INDEX jobs_ready ON jobs (topic, ready_at, number) WHERE state = 0;
        -- promote
        CREATE INDEX jobs_due ON jobs (topic, ready_at) WHERE state IN (1, 2) AND follows = 0;
        -- renew, reap, the answer to a claim
        CREATE INDEX jobs_lease ON jobs (topic, worker, sequence, ready_at, number) WHERE state = 3;
        -- the settled mark
        CREATE INDEX jobs_hold ON jobs (topic, partition, hold) WHERE hold IS NOT NULL;
        CREATE INDEX parked_hold ON parked (topic, partition, hold) WHERE hold IS NOT NULL;
        -- what the log is to get
        CREATE INDEX jobs_unwritten ON jobs (topic, died_at, id) WHERE died_at IS NOT NULL;
        CREATE INDEX parked_unwritten ON parked (topic, parked_at, id) WHERE unwritten = 1;
        -- at most one unfinished job of a dedup id, and one that follows it
        CREATE UNIQUE INDEX jobs_dedup ON jobs (topic, dedup, follows)
            WHERE dedup IS NOT NULL AND state <> 4;

        CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
            INSERT INTO counts VALUES (new.topic, new.state, 1)
                ON CONFLICT DO UPDATE SET jobs = jobs + 1;
        END;
        CREATE TRIGGER job_moved AFTER UPDATE OF state ON jobs WHEN old.state <> new.state BEGIN
            UPDATE counts SET jobs = jobs - 1 WHERE topic = old.topic AND state = old.state;
            INSERT INTO counts VALUES (new.topic, new.state, 1)
                ON CONFLICT DO UPDATE SET jobs = jobs + 1;
        END;
        CREATE TRIGGER job_removed AFTER DELETE ON jobs BEGIN
            UPDATE counts SET jobs = jobs - 1 WHERE topic = old.topic AND state = old.state;
        END;
        CREATE TRIGGER record_parked AFTER INSERT ON parked BEGIN
            INSERT INTO counts VALUES (new.topic, 5, 1)
                ON CONFLICT DO UPDATE SET jobs = jobs + 1;
        END;
        CREATE TRIGGER record_discarded AFTER DELETE ON parked BEGIN
            UPDATE counts SET jobs = jobs - 1 WHERE topic = old.topic AND state = 5;
        END
    """,
)
