"""The states that psycopg2's poll() goes through, for the scenarios of beside_libpq.rs.

python3 beside_libpq.py DSN: reads the names of scenarios, and prints a line of states for each.
"""

import select
import sys

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

NAMES = {POLL_OK: "ok", POLL_READ: "read", POLL_WRITE: "write"}


def finish(connection, states):
    """Polls until it is done; a state that is repeated is noted once."""
    while True:
        try:
            state = connection.poll()
        except psycopg2.Error:
            states.append("error")
            return
        if not states or states[-1] != NAMES[state]:
            states.append(NAMES[state])
        if state == POLL_OK:
            return
        if state == POLL_READ:
            select.select([connection.fileno()], [], [], 30)
        else:
            select.select([], [connection.fileno()], [], 30)


def execute(connection, sql):
    # The cursor must not be collected while its statement is in progress.
    cursor = connection.cursor()
    cursor.execute(sql)
    # It was sent: psycopg2 waits for the answer (ASYNC_READ).
    states = ["read"]
    select.select([connection.fileno()], [], [], 30)
    finish(connection, states)
    del cursor
    return states


def main():
    dsn = sys.argv[1]
    connection = None
    for line in sys.stdin:
        name, _, sql = line.strip().partition(" ")
        states = []
        if name == "connect":
            connection = psycopg2.connect(dsn, async_=True)
            finish(connection, states)
        elif name == "idle":
            # Something has come while no statement was in progress.
            select.select([connection.fileno()], [], [], 30)
            finish(connection, states)
        elif name == "execute":
            states = execute(connection, sql)
        elif name == "pid":
            states = [str(connection.get_backend_pid())]
        print(" ".join(states), flush=True)


main()
