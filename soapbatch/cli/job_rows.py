"""The rows of the commands about jobs, with their help."""

from typing import Final

from soapbatch.cli.rows import (
    DEFAULT_COLUMNS,
    STATES,
    Argument,
    Command,
    argument,
    duration,
    interval,
    names,
    number,
    pair,
    state,
    task_id,
)

JOBS: Final = "Jobs"
TASKS: Final = "Tasks"

_IDS: Final = argument("ids", metavar="ID", type=task_id, nargs="+", help="the id of a task")
_ID: Final = argument("id", metavar="ID", type=task_id, help="the id of a task")
_INTERVAL: Final = argument(
    "--interval",
    metavar="TIME",
    type=interval,
    default=2.0,
    help="the shortest time between two readings (else 2 seconds: a server looks for work no more often)",
)
_NAME: Final = argument("--name", metavar="NAME", help="only tasks of this job")
_STATE: Final = argument(
    "--state",
    metavar="STATE",
    type=state,
    completer="soapbatch.cli.completion:states",
    help=f"only tasks in this state: {', '.join(STATES)}",
)
_SCOPES: Final = (
    argument("--mine", dest="scope", action="store_const", const="mine", help="only tasks of the one who logged in"),
    argument("--system", dest="scope", action="store_const", const="system", help="only tasks of the system"),
    argument("--all", dest="scope", action="store_const", const="all", help="tasks of all users and of the system"),
)
_START: Final = (
    argument("name", metavar="NAME", help="the name of a job that is defined on the server"),
    argument(
        "-p",
        "--parameter",
        dest="parameters",
        metavar="KEY=VALUE",
        type=pair,
        action="append",
        default=[],
        help="a parameter of the job; may be repeated",
    ),
    argument("--description", metavar="TEXT", help="a text for people, which lists show; at most 254 characters"),
    argument(
        "--key",
        metavar="TEXT",
        help="a text that stands for this one start: a task that has the key is used, and nothing is started",
    ),
    argument(
        "--if-running",
        choices=("start", "attach", "fail"),
        metavar="DO",
        default="start",
        help="what to do if a job of that name has not ended: start another one (the default), attach to it, or fail",
    ),
)


def _timeout(help_: str) -> Argument:
    """Return the option --timeout of a command that waits: it is about the wait, not about a call."""
    return argument("--timeout", dest="wait_timeout", metavar="TIME", type=duration, help=help_)


_OUTPUT_FILE: Final = argument(
    "-O",
    "--output-file",
    metavar="FILE",
    help="where to write the output; - is standard output. Without it the server's file name, in this folder; "
    "that never replaces a file",
)

JOB_COMMANDS: Final = (
    Command(
        "start",
        JOBS,
        "start a job and print the id of its task",
        "soapbatch.cli.starting:start",
        "NAME [-p KEY=VALUE]... [options]",
        (
            *_START,
            argument("--wait", action="store_true", help="wait for its end, as the command wait does"),
            _timeout("with --wait: how long to wait (else until the job ends); the job runs on"),
            _INTERVAL,
        ),
        """
        Start a job and print the id of its task. The job runs on the server: it goes on when this command has ended.

        A start is never sent twice. If its answer is lost, the exit status is 7 and the error says where to look:
        the job may run. With --key the same command can be given again: it finds the task instead of starting
        another one. A job sees the key as a further parameter, soapbatch.marker.
        """,
        """
        # start a job with two parameters, and keep the id
        id=$(soapbatch start ExportArchiveBatchPlugin -p archive=contacts -p format=csv)

        # start it at most once today, however often this runs
        soapbatch start ExportArchiveBatchPlugin --key export-$(date +%F)

        # start, wait, and know by the exit status whether it worked
        soapbatch start ExportArchiveBatchPlugin --wait --timeout 2h
        """,
    ),
    Command(
        "run",
        JOBS,
        "start a job, wait for its end, save its output and clean up",
        "soapbatch.cli.starting:run",
        "NAME [-p KEY=VALUE]... [-O FILE|-] [options]",
        (
            *_START,
            _OUTPUT_FILE,
            argument("--keep", action="store_true", help="leave the output on the server, too"),
            _timeout("how long to wait (else until the job ends); the job runs on"),
            _INTERVAL,
        ),
        """
        Start a job, wait for its end, save its output, and let the server remove its copy. Prints the path of the file.

        If the job worked and the output could not be saved, the exit status is 8 and the output stays on the server:
        `soapbatch output ID` fetches it. Ctrl-C leaves the job running, and says its id. Outputs came with
        Services88: with earlier versions the command starts and waits.
        """,
        """
        soapbatch run ExportArchiveBatchPlugin -p archive=contacts -O contacts.csv

        # into a pipe
        soapbatch run ExportArchiveBatchPlugin -O - | head
        """,
    ),
    Command(
        "list",
        TASKS,
        "list tasks, the newest first",
        "soapbatch.cli.listing:list_tasks",
        "[--name NAME] [--state STATE] [--mine | --system | --all] [options]",
        (
            _NAME,
            _STATE,
            *_SCOPES,
            argument("--running", action="store_true", help="only tasks that have not ended"),
            argument(
                "--since",
                metavar="TIME",
                help="only tasks created since: a duration back from now (2h, 7d), or a date (2026-11-26)",
            ),
            argument("--limit", metavar="N", type=number(1), help="at most so many"),
            argument(
                "--columns",
                metavar="NAMES",
                type=names,
                completer="soapbatch.cli.completion:columns",
                help=f"fields to show, with commas between them (else {', '.join(DEFAULT_COLUMNS)})",
            ),
        ),
        """
        List tasks, the newest first. Without --mine, --system or --all: the tasks of all users.

        --mine needs to know who you are, which `soapbatch login` finds out. A date without a time zone is taken as UTC,
        and so is a date of the server that has none.
        """,
        """
        # what runs now, and what failed today
        soapbatch list --all --running
        soapbatch list --state Failed --since 24h

        # stop everything of one job
        soapbatch list --name ExportArchiveBatchPlugin --running -o ids | xargs soapbatch stop -y

        # for a program
        soapbatch list -o json | jq '.tasks[] | select(.progress_percent < 10) | .id'
        """,
    ),
    Command(
        "show",
        TASKS,
        "show everything that the server says about a task",
        "soapbatch.cli.listing:show",
        "ID [options]",
        (_ID,),
        """
        Show everything that the server says about a task: parameters, result, progress, who owns it, how often it was
        started. Fields without a value are left out, except in JSON.
        """,
        """
        soapbatch show 42
        soapbatch show 42 -o json | jq .task.result
        """,
    ),
    Command(
        "wait",
        TASKS,
        "wait until tasks have ended",
        "soapbatch.cli.waiting:wait",
        "ID... [--timeout TIME] [--any] [options]",
        (
            _IDS,
            _timeout("how long to wait for all of them together (else until they have ended)"),
            argument("--any", action="store_true", help="until the first of them has ended"),
            _INTERVAL,
        ),
        """
        Wait until tasks have ended, and show them. On a terminal bars show their progress.

        The exit status is 0 if all of them worked, 1 if all failed, 8 if some did, 3 if there is no such task, and 4
        after --timeout: the jobs run on. The limit of a single call is the option --timeout before the command:
        `soapbatch --timeout 10 wait 42 --timeout 2h`.
        """,
        """
        soapbatch wait 42 --timeout 2h && soapbatch output 42
        soapbatch wait 42 43 44 --any
        """,
    ),
    Command(
        "watch",
        TASKS,
        "print each change of tasks as a line of JSON, until they have ended",
        "soapbatch.cli.waiting:watch",
        "ID... [--timeout TIME] [options]",
        (_IDS, _timeout("how long to watch (else until they have ended)"), _INTERVAL),
        """
        Print each task as it is now, and after each change, as a line of JSON, until all of them have ended. Exit
        status: as the command wait.
        """,
        """
        soapbatch watch 42 | jq -r '"\\(.progress_percent)% \\(.progress_description)"'
        """,
    ),
    Command(
        "stop",
        TASKS,
        "ask the server to stop tasks",
        "soapbatch.cli.removal:stop",
        "ID... [--force] [--dry-run] [-y] [options]",
        (
            _IDS,
            argument("--force", action="store_true", help="also if the task says that it cannot be stopped"),
            argument("--dry-run", action="store_true", help="only show what would be stopped"),
        ),
        """
        Ask the server to stop tasks. On a terminal the command asks first; elsewhere it needs -y. A task may say
        that it should be stopped only after a warning (CancelWithWarning): the question then says so. A task may say
        that it cannot be stopped (CannotCancel): the exit status is 5, unless --force.

        There is no state for a stopped task: it ends as Failed, or as Succeeded. A task that has ended already
        counts as stopped.
        """,
        """
        soapbatch stop 42
        soapbatch list --name ExportArchiveBatchPlugin --running -o ids | xargs soapbatch stop -y
        """,
    ),
    Command(
        "delete",
        TASKS,
        "delete tasks, by id or by what they are",
        "soapbatch.cli.removal:delete",
        "(ID... | --name NAME | --state STATE | --older-than TIME) [--dry-run] [-y] [options]",
        (
            argument("ids", metavar="ID", type=task_id, nargs="*", help="the id of a task"),
            _NAME,
            _STATE,
            argument("--older-than", metavar="TIME", type=duration, help="only tasks created longer ago, such as 7d"),
            *_SCOPES,
            argument("--dry-run", action="store_true", help="only show what would be deleted"),
        ),
        """
        Delete tasks from the server, with their outputs. Either by id, or all that fit --name, --state and --older-than
        together; then only tasks that have ended, unless --state says otherwise. Prints the ids that were deleted.

        On a terminal the command shows the tasks and asks; elsewhere it needs -y.
        """,
        """
        # what would go?
        soapbatch delete --state Failed --older-than 30d --dry-run

        soapbatch delete 42 43 -y
        """,
    ),
    Command(
        "output",
        TASKS,
        "save or print the output of a task",
        "soapbatch.cli.outputs:output",
        "ID [-O FILE|-] [options]",
        (_ID, _OUTPUT_FILE),
        """
        Save the output of a task that has ended. Without -O: on a terminal to a file with the server's file name, which
        never replaces a file; elsewhere to standard output. A file appears only when it is complete. Binary data is
        never written to a terminal. Since Services88.
        """,
        """
        soapbatch output 42                   # saves export.csv
        soapbatch output 42 -O contacts.csv
        soapbatch output 42 | head
        """,
    ),
    Command(
        "cleanup",
        TASKS,
        "let the server remove the output of a task",
        "soapbatch.cli.removal:cleanup",
        "ID [--dry-run] [-y] [options]",
        (_ID, argument("--dry-run", action="store_true", help="only show whose output would go")),
        """
        Let the server remove the output of a task; the task itself stays. On a terminal the command asks first;
        elsewhere it needs -y. Since Services88.
        """,
        """
        soapbatch output 42 -O contacts.csv && soapbatch cleanup 42 -y
        """,
    ),
    Command(
        "top",
        TASKS,
        "watch all running tasks in a live table",
        "soapbatch.cli.top:top",
        "[--name NAME] [--sort COLUMN] [--once] [options]",
        (
            _NAME,
            *_SCOPES,
            argument(
                "--sort",
                choices=("id", "name", "state", "progress", "age", "pace", "end", "owner"),
                default="id",
                metavar="COLUMN",
                help="id (the default), name, state, progress, age, pace, end or owner",
            ),
            argument("--once", action="store_true", help="print one frame and end"),
            _INTERVAL,
        ),
        """
        Show the tasks that have not ended, live: a bar, the state, the age, the pace (percent a minute), the estimated
        end, the owner; above them totals, the requests a minute that this costs, and a line of how many tasks ran over
        time. A task that ends stays in the table until the command ends. Ctrl-C ends it.
        """,
        """
        soapbatch top --all --sort age
        soapbatch top --once
        """,
    ),
)
