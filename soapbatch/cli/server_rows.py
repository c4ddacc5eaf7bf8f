"""The rows of the commands about the server, the settings and the command itself, with their help."""

from typing import Final

from soapbatch.cli.rows import Command, argument

SERVER: Final = "Server"
SETTINGS: Final = "Settings"
EMBEDDED: Final = "Embedded server"
GUIDE: Final = "Guide"

SERVER_COMMANDS: Final = (
    Command(
        "login",
        SERVER,
        "log in, and keep the ticket for the next commands",
        "soapbatch.cli.login:login",
        "[--url URL] [--user NAME] [--password-stdin] [--keyring] [options]",
        (
            argument(
                "--keyring",
                action="store_true",
                help="keep the password in the keyring of this machine (needs soapbatch[keyring])",
            ),
        ),
        """
        Log in, and keep the ticket in a file that only you can read. The following commands use the ticket, and
        renew it where they know the password. --url and --user are written to the profile, so that they need not be
        given again.

        The password comes from --password-stdin, SOAPBATCH_PASSWORD, SOAPBATCH_PASSWORD_FILE, password_command of the
        profile, the keyring, or a question on the terminal: the first of them that there is. It is never an argument,
        which other users of the machine could see.
        """,
        """
        soapbatch login --url https://crm.example.com/SuperOffice --user ada

        # in a script
        pass show crm | soapbatch login --password-stdin

        # from a password store, whenever a login is needed
        soapbatch config set password_command 'pass show crm'
        """,
    ),
    Command(
        "logout",
        SERVER,
        "forget the ticket",
        "soapbatch.cli.login:logout",
        "[--keyring] [options]",
        (argument("--keyring", action="store_true", help="forget the password in the keyring, too"),),
        """
        Remove the ticket from this machine. On the server it ends 6 hours after its last use: NetServer has no
        operation that ends a ticket.
        """,
    ),
    Command(
        "info",
        SERVER,
        "show what the server, its database and its licence are",
        "soapbatch.cli.calling:info",
        text="Show what the server says of itself (GetSystemInfo). Needs no login.",
        examples="soapbatch info -o json | jq .system.net_server_version",
    ),
    Command(
        "doctor",
        SERVER,
        "find out why it does not work, and what to do",
        "soapbatch.cli.doctor:doctor",
        text="""
        Check everything between here and the list of tasks, one line each, with what to do: the name, TCP, TLS, the
        proxy, the clock, the address, bindings and service versions, the application token, the login, the age of the
        ticket, the right to list tasks, round trips, and what is installed.

        It starts, stops, changes and deletes nothing; it does log in. The exit status is 0 if no check fails, else that
        of the first failure: 2 settings, 5 refused, 6 no answer.
        """,
        examples="""
        soapbatch doctor
        soapbatch doctor -o json | jq '.checks[] | select(.status == "fail")'
        """,
    ),
    Command(
        "call",
        SERVER,
        "call any operation of the services",
        "soapbatch.cli.calling:call",
        "OPERATION [KEY=VALUE]... [--dry-run] [-y] [options]",
        (
            argument(
                "operation",
                metavar="OPERATION",
                completer="soapbatch.cli.completion:operations",
                help="such as GetBatchTaskInfo, or get_batch_task_info",
            ),
            argument(
                "values",
                metavar="KEY=VALUE",
                nargs="*",
                completer="soapbatch.cli.completion:parameters",
                help="a parameter; a field of one is task.name=..., a list is 1,2,3",
            ),
            argument(
                "--dry-run", action="store_true", help="print the envelope, with secrets masked, and send nothing"
            ),
        ),
        """
        Call one operation, and print its result. Parameters have their wire names or their Python names. Fields of a
        task are written with dots: batch_task_info.name=Export batch_task_info.parameter_object.archive=contacts.
        associate_ids is a list such as 101,102, or all, users or system.

        A parameter that is secret is not taken from the command line: KEY=@FILE reads it from a file, and KEY=@- from
        standard input. An operation that changes something asks first on a terminal, and needs -y elsewhere.
        """,
        """
        soapbatch call GetBatchTaskInfo id=42
        soapbatch call GetBatchTaskInfosByAssociates associate_ids=101,102 -o json
        soapbatch call StartBatchJob batch_task_info.name=Export --dry-run --binding soap11
        """,
    ),
    Command(
        "config",
        SETTINGS,
        "show and change the settings",
        "soapbatch.cli.configuring:config",
        "(path | show | set KEY VALUE | profiles) [options]",
        (
            argument(
                "action",
                metavar="ACTION",
                choices=("path", "show", "set", "profiles"),
                help="path, show, set or profiles",
            ),
            argument(
                "key",
                metavar="KEY",
                nargs="?",
                completer="soapbatch.cli.completion:settings",
                help="with set: the setting",
            ),
            argument("value", metavar="VALUE", nargs="?", help="with set: its value; an empty one removes the setting"),
        ),
        """
        path prints the path of the configuration file; show prints each setting with its value and where it comes
        from; set writes a setting to the profile (--profile, else default); profiles lists the profiles.

        The order is: option, environment, profile, default. The file is $XDG_CONFIG_HOME/soapbatch/config.toml, with a
        table [profile.NAME] for each server, and must be readable by its owner alone (mode 0600). It holds no secrets:
        password_command and application_token_command name a command that prints one.

        Settings of a server on-site: url, user, service_version, binding, timeout, password_command,
        application_token_command. Settings of a tenant of SuperOffice Online: tenant, environment (sod, stage, online),
        system_user, private_key (the path of a file), application_token_command.
        """,
        """
        soapbatch config set url https://crm.example.com/SuperOffice
        soapbatch config set --profile test url https://test.example.com
        soapbatch --profile test list
        """,
    ),
    Command(
        "completion",
        SETTINGS,
        "print the completion script for a shell",
        "soapbatch.cli.completion:completion",
        "bash|zsh|fish",
        (argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish"),),
        "Print a script that completes commands, options, profiles, states and operations in your shell.",
        """
        eval "$(soapbatch completion bash)"                                  # in ~/.bashrc
        eval "$(soapbatch completion zsh)"                                   # in ~/.zshrc, after compinit
        soapbatch completion fish > ~/.config/fish/completions/soapbatch.fish
        """,
    ),
    Command(
        "demo",
        EMBEDDED,
        "run a batch job on an embedded NetServer and watch it",
        "soapbatch.cli.demo:demo",
        arguments=(
            argument(
                "--online",
                action="store_true",
                help="on an embedded SuperOffice Online: find a tenant, sign in its system user, and follow a move",
            ),
        ),
        text="Run one batch job from login to clean-up, on an embedded NetServer of its own. Needs soapbatch[demo].",
        examples="""
        soapbatch demo
        soapbatch demo --online
        """,
    ),
    Command(
        "serve",
        EMBEDDED,
        "serve an embedded NetServer for tests in any language",
        "soapbatch.cli.serve:serve",
        arguments=(
            argument("--port", type=int, default=0, help="the port to listen on; 0, the default: any free one"),
            argument(
                "--job",
                metavar="FILE.toml",
                action="append",
                default=[],
                help="jobs: a table each, such as [Export]",
            ),
            argument(
                "--speed",
                type=float,
                default=1.0,
                help="seconds of the server's clock in a second; 0: it stands still",
            ),
            argument(
                "--failures",
                choices=("header", "fault", "401"),
                default="header",
                help="how failures are reported",
            ),
            argument(
                "--personality",
                default="lenient",
                help="the SOAP stack to behave like: lenient, mono, jaxws, node_soap, gsoap, spyne...",
            ),
            argument(
                "--control",
                action="store_true",
                help="serve the control API: python -m pydoc soapbatch.testing.control",
            ),
        ),
        text="""
        Serve an embedded NetServer on 127.0.0.1. One line of JSON, {"url": ...}, tells when it is ready and where. It
        ends on SIGTERM, and when its standard input, if that is a pipe, is closed. User demo, password demo. Needs
        soapbatch[testing].
        """,
        examples="""
        soapbatch serve --job jobs.toml --speed 60
        """,
    ),
    Command(
        "help",
        GUIDE,
        "read a page of the guide",
        "soapbatch.cli.pages:show_page",
        "[PAGE] [options]",
        (
            argument(
                "page",
                metavar="PAGE",
                nargs="?",
                completer="soapbatch.cli.completion:pages",
                help="the page, such as jobs; without it, the pages are listed",
            ),
        ),
        """
        Print a page of the guide, which comes with the library; on a terminal, in a pager. `soapbatch COMMAND --help`
        explains a command.
        """,
        """
        soapbatch help
        soapbatch help jobs
        """,
    ),
)
