"""Parsing by contract 1.2, and the texts of 1.4."""

import pytest

from container.cli.parser import HelpRequested, parse
from container.cli.spec import Argument, Command, Option, Values, flag, integer
from container.cli.usage import UsageError, edit_distance, synopsis


def _nothing(values: Values) -> int:
    return 0


LIST = Command(
    "List",
    _nothing,
    options=[
        flag("all", "-a, --all", "All of them"),
        Option(
            "format",
            "--format",
            "The format",
            value="format",
            default="table",
            choices=("json", "table", "yaml", "toml"),
        ),
        Option("count", "-n, --count", "How many", value="count", parse=integer),
        Option("env", "-e, --env", "A variable", value="env", many=True),
        flag("quiet", "-q, --quiet", "Only names"),
        Option("secret", "--secret", "Hidden", value="secret", hidden=True),
    ],
    arguments=[Argument("ids", "ids", "The ids", many=True, optional=True, default=[])],
)
RUN = Command(
    "Run",
    _nothing,
    options=[
        flag("tty", "-t, --tty", "Terminal"),
        flag("interactive", "-i, --interactive", "Stdin"),
        flag("detach", "-d, --detach", "Detach"),
        Option("env", "-e, --env", "A variable", value="env", many=True),
    ],
    arguments=[
        Argument("image", "image", "The image"),
        Argument("arguments", "arguments", "Arguments", many=True, optional=True, default=[]),
    ],
    passthrough=True,
)
EXEC = Command(
    "Exec",
    _nothing,
    arguments=[Argument("id", "container-id", "The container"), Argument("arguments", "arguments", "Words", many=True)],
    passthrough=True,
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--format", "json"], {"format": "json"}),
        (["--format=json"], {"format": "json"}),
        (["-n", "3"], {"count": 3}),
        (["-n3"], {"count": 3}),
        (["-n=3"], {"count": 3}),
        (["-n", "-3"], {"count": -3}),
        (["-aq"], {"all": True, "quiet": True}),
        (["-aqn5"], {"all": True, "quiet": True, "count": 5}),
        (["--format", "json", "--format", "yaml"], {"format": "yaml"}),
        (["-e", "A=1", "--env", "B=2", "-eC=3"], {"env": ["A=1", "B=2", "C=3"]}),
        (["one", "-a", "two"], {"ids": ["one", "two"], "all": True}),
        (["--", "-a", "--all"], {"ids": ["-a", "--all"], "all": False}),
        (["-"], {"ids": ["-"]}),
        (["--env="], {"env": [""]}),
        ([], {"all": False, "format": "table", "ids": [], "env": [], "count": None}),
    ],
)
def test_words_become_values(words: list[str], expected: dict[str, object]) -> None:
    values = parse(LIST, words)
    assert {name: getattr(values, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "image", "rest"),
    [
        (["alpine", "ls", "-l"], "alpine", ["ls", "-l"]),
        (["-it", "alpine", "-t", "--help"], "alpine", ["-t", "--help"]),
        (["--", "alpine", "ls"], "alpine", ["ls"]),
        (["alpine", "--", "ls"], "alpine", ["--", "ls"]),
        (["-dit", "-e", "A", "alpine"], "alpine", []),
    ],
)
def test_everything_after_the_image_belongs_to_the_process(words: list[str], image: str, rest: list[str]) -> None:
    values = parse(RUN, words)
    assert (values.image, values.arguments) == (image, rest)


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (LIST, ["--xylophone"], "Unknown option '--xylophone'"),
        (LIST, ["--x"], "Unknown option '--x'. Did you mean '--all'?"),
        (LIST, ["--formt", "x"], "Unknown option '--formt'. Did you mean '--format'?"),
        (LIST, ["--quit"], "Unknown option '--quit'. Did you mean '--quiet'?"),
        (LIST, ["--secre", "x"], "Unknown option '--secre'"),
        (LIST, ["-x"], "Unknown option '-x'"),
        (LIST, ["-ax"], "Unknown option '-x'"),
        (LIST, ["--format"], "Missing value for '--format <format>'"),
        (LIST, ["--format", "--all"], "Missing value for '--format <format>'"),
        (LIST, ["-n"], "Missing value for '-n <count>'"),
        (
            LIST,
            ["--format", "xml"],
            "The value 'xml' is invalid for '--format <format>'."
            " Please provide one of 'json', 'table', 'yaml' or 'toml'.",
        ),
        (LIST, ["-n", "many"], "The value 'many' is invalid for '-n <count>': expected a whole number"),
        (LIST, ["--all=1"], "The option '--all' does not take any value, but '1' was specified."),
        (RUN, [], "Missing expected argument '<image>'"),
        (RUN, ["--xylophone", "alpine"], "Unknown option '--xylophone'"),
        (EXEC, ["web"], "Missing expected argument '<arguments> ...'"),
    ],
)
def test_errors_say_what_is_wrong(command: Command, words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(command, words)
    assert caught.value.message == message


def test_unexpected_arguments_are_counted() -> None:
    bare = Command("Bare", _nothing)
    with pytest.raises(UsageError, match=r"^Unexpected argument 'x'$"):
        parse(bare, ["x"])
    with pytest.raises(UsageError, match=r"^2 unexpected arguments: 'a', 'b'$"):
        parse(bare, ["a", "b"])


def test_an_error_carries_help_and_usage_lines() -> None:
    with pytest.raises(UsageError) as caught:
        parse(LIST, ["--format", "xml"])
    text = caught.value.at("container list", synopsis("container list", LIST)).text()
    assert text.splitlines()[1:] == [
        "Help:  --format <format>  The format",
        "Usage: container list [--all] [--format <format>] [--count <count>] [--env <env> ...] [--quiet] [--debug]"
        " [<ids> ...]",
        "  See 'container list --help' for more information.",
    ]


@pytest.mark.parametrize(
    ("command", "words"),
    [(LIST, ["-h"]), (LIST, ["--help"]), (LIST, ["--nope", "--help"]), (RUN, ["--help"]), (RUN, ["-h", "alpine"])],
)
def test_help_wins_over_errors(command: Command, words: list[str]) -> None:
    with pytest.raises(HelpRequested):
        parse(command, words)


def test_help_of_the_process_is_not_ours() -> None:
    assert parse(RUN, ["alpine", "--help"]).arguments == ["--help"]


def test_edit_distance_counts_single_changes() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == 3


def test_a_long_synopsis_names_only_the_positionals() -> None:
    options = [flag(f"o{number}", f"--o{number}", "") for number in range(13)]
    command = Command("Many", _nothing, options=options, arguments=[Argument("image", "image", "")])
    assert synopsis("container many", command) == "container many [<options>] <image>"
