"""The part of Go's templates that `--format` takes."""

import pytest

from container.cli.template import Template, TemplateError
from container.cli.template.values import Method, Record, Strings

WEB = Record(
    {
        "ID": "0badcafe",
        "Names": "web",
        "State": "running",
        "Label": Method(lambda key: {"a": "b"}.get(key, "")),
        "Config": {"Labels": Strings({"a.b": "c"}), "Env": ["A=1", "B=2"], "Tty": False},
    },
    {"id": "0badcafe", "status": {"ports": [{"host": 80}, {"host": 81}], "load": 1.5}},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.ID}} {{ .Names }}", "0badcafe web"),
        (r"{{.ID}}\t{{.Names}}", "0badcafe\tweb"),
        ("{{.id}} {{.status.load}}", "0badcafe 1.5"),
        ("{{.Config.Env}} {{.Config.Tty}} {{.Config.Labels}}", "[A=1 B=2] false map[a.b:c]"),
        ("{{.status.nothing.below}}", "<no value>"),
        ('{{.Label "a"}}|{{.Label "z"}}', "b|"),
        ('{{index .Config.Labels "a.b"}}|{{index .Config.Labels "z"}}', "c|"),
        ("{{(index .status.ports 1).host}}", "81"),
        ("{{json .Config.Env}} {{json .Names}}", '["A=1","B=2"] "web"'),
        ("{{json .status}}", '{"load":1.5,"ports":[{"host":80},{"host":81}]}'),
        ('{{join .Config.Env ","}} {{len .Config.Env}}', "A=1,B=2 2"),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}", "A=1,B=2"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}", "a.b=c"),
        ("{{range .status.none}}x{{else}}none{{end}}", "none"),
        ("{{$f := true}}{{range .Config.Env}}{{if $f}}{{$f = false}}{{else}},{{end}}{{.}}{{end}}", "A=1,B=2"),
        ('{{if eq .State "paused" "running"}}up{{else if .Names}}?{{else}}down{{end}}', "up"),
        ('{{if and (ne .State "running") .Names}}a{{else if gt (len .Config.Env) 1}}b{{end}}', "b"),
        ("{{with .Names}}{{.}} is {{$.State}}{{end}}", "web is running"),
        ('{{.Names | upper | printf "%-5s|"}}', "WEB  |"),
        ('{{printf "%s %5d %q %v" .Names 3 "x" .Config.Env}}', 'web     3 "x" [A=1 B=2]'),
        ("{{println .ID .Names}}", "0badcafe web\n"),
        ('{{split "a/b" "/"}} {{title "up"}} {{truncate .ID 4}} {{slice .ID 0 2}}', "[a b] Up 0bad 0b"),
        ("a {{- /* nothing */ -}} b {{-  .Names  -}} c", "abwebc"),
        ('{{`raw\\n`}}{{"tab\\t"}}', "raw\\ntab\t"),
        ("no action", "no action"),
    ],
)
def test_templates_give_what_go_gives(text: str, expected: str) -> None:
    assert Template(text).render(WEB) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{.ID", "an action is not closed"),
        ("{{}}", "empty action"),
        ("{{if .ID}}x", "has no {{end}}"),
        ("{{end}}", "nothing to end"),
        ("{{if}}x{{end}}", "a value is missing"),
        ("{{html .ID}}", "there is no function 'html'"),
        ("{{(.ID}}", "a parenthesis is not closed"),
        ("{{.ID ~}}", "unexpected '~'"),
        ('{{"\\q"}}', "bad string"),
        ("{{" + "(" * 5000 + ".ID" + ")" * 5000 + "}}", "nested too deeply"),
    ],
)
def test_what_is_no_template_is_refused_at_once(text: str, why: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{.Nope}}", "there is no field .Nope; there are .ID, .Names"),
        ("{{.ID.x}}", "there is no field .x in '0badcafe'"),
        ("{{$x}}", "there is no variable $x"),
        ("{{range .ID}}{{end}}", "range cannot go over"),
        ("{{index .Config.Env 7}}", "there is no index 7"),
        ("{{len 3}}", "does not take the arguments '3'"),
        ('{{.ID "x"}}', "takes no arguments"),
        ('{{lt 1 "a"}}', "cannot compare"),
        ('{{printf "%d" "x"}}', "printf cannot show 'x' as %d"),
        ('{{printf "%s"}}', "printf has no value for %s"),
        ("{{.Label}}", "an argument is missing"),
        ("{{print .Label}}", "an argument is missing"),
        ("{{upper}}", "an argument is missing"),
    ],
)
def test_what_does_not_go_with_the_values_is_told(text: str, why: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text).render(WEB)
    assert why in str(caught.value)


def test_a_table_has_a_header_and_columns() -> None:
    long = Record({"ID": "1", "Names": "a-long-name", "State": "x", "Label": Method(lambda _: "")})
    template = Template(r'table {{.ID}}\t{{upper .Names}}\t{{.State}}\t{{.Label "a"}}')
    assert template.lines([WEB, long]).splitlines() == [
        "ID        NAMES        STATE    LABEL",
        "0badcafe  WEB          running  b",
        "1         A-LONG-NAME  x",
    ]
    header = r"table {{json .CreatedAt}}\t{{range .Mounts}}{{.}}{{end}}\t{{printf \"%.5s\" .ID}}".replace('\\"', '"')
    assert Template(header).lines([]) == "CREATED AT    ID\n"
