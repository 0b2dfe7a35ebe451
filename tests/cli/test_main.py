"""The command `kgrec` as a real process: what it imports, how it fails, and what each command prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "tests" / "plugins"
HEAVY = ("torch", "transformers", "faiss", "polars", "numpy", "scipy", "rich", "pyarrow", "sklearn")
MAIN = "from kgrec_core.cli.main import main\nmain(prog_name='kgrec')"


def run(*words, code=MAIN, plugins=("good",), **environment):
    path = os.pathsep.join([*(str(PLUGINS / name) for name in plugins), str(ROOT)])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KGREC_")}
    environment = {**clean, "PYTHONPATH": path, "KGREC_PLUGINS": ",".join({*plugins, "good"} - {"import_error"}), **environment}
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("words", [["--help"], ["shop", "--help"], ["plugins"], ["list"], ["shop", "recipe"], ["show", "domain", "shop"]])
def test_light_commands_import_nothing_heavy(words):
    report = f"import atexit, sys\natexit.register(lambda: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr))\n"
    done = run(*words, code=report + MAIN)
    assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.parametrize("module", ["kgrec_core", "good_plugin"])
def test_packages_import_nothing_heavy(module):
    done = run(code=f"import sys, {module}\nprint([m for m in {HEAVY!r} if m in sys.modules])")
    assert done.stdout == "[]\n"


def test_help_lists_domains_and_their_commands_without_importing_them():
    assert "shop" in run("--help").stdout and "a shop for tests" in run("--help").stdout
    told = run("shop", "--help").stdout
    assert "Greet the domain." in told and "A command whose module does not exist." in told and "recipe" in told
    for word in ("plugins", "list", "show", "doctor"):
        told = run(word, "--help").stdout
        assert "Example" in told and "--json" in told


def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_2():
    with open("/dev/full", "w") as full:
        code = "from kgrec_core.cli.main import main\nmain(prog_name='kgrec')"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "KGREC_PLUGINS": ""}
        done = subprocess.run(
            [sys.executable, "-c", code, "list"], stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False
        )
    assert (done.returncode, done.stderr) == (2, "error: the output: No space left on device; free space or choose another place\n")


def test_a_terminal_with_few_letters_gets_them_spelled_out():
    code = "import click\nfrom kgrec_core.cli.domain import LazyGroup\nfrom kgrec_core.printing import say, say_json\n"
    code += "group = LazyGroup('g', {})\ngroup.fetch = lambda word: click.Command('x', callback=lambda: (say('中'), say_json({'a': '中😀é'}, None)))\n"
    code += "group.sections = lambda: {'': {'x': ''}}\ngroup()"
    done = run("x", code=code, PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout == '\\u4e2d\n{"a": "\\u4e2d\\ud83d\\ude00\\u00e9"}\n'


ECHO = """
import sys, click
from kgrec_core.cli.domain import LazyGroup
group = LazyGroup("g", {})
group.fetch = lambda word: click.Command("x", callback=lambda: click.echo(sys.stdin.read()))
group.sections = lambda: {"": {"x": ""}}
group()
"""


def test_standard_input_that_is_no_text_and_streams_that_are_closed():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict", "CODE": ECHO}
    done = subprocess.run([sys.executable, "-c", ECHO, "x"], input=b"caf\xe9", capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, b"") and done.stderr.count(b"\n") == 1
    assert b"error: byte 0xe9 at 3 of what came on standard input is not UTF-8; write it so, e.g. iconv" in done.stderr
    closed = f'exec "{sys.executable}" -c "$CODE" x <&- >&-'
    done = subprocess.run(["sh", "-c", closed], stderr=subprocess.PIPE, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_domain_command_gets_its_domain():
    done = run("shop", "hello")
    assert (done.returncode, done.stdout) == (0, "hello shop\n")
    script = "import good_plugin\nfrom kgrec_core.cli.domain import domain_group\ndomain_group(good_plugin.kgrec_domain()[0])()"
    assert run("hello", code=script).stdout == "hello shop\n"  # a plugin's own script is the same group


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["shop", "wrong"], "error: orders.csv is missing; give --data FILES"),
        (["shop", "lost"], "error: command 'lost': 'good_plugin.absent:lost' cannot be loaded: ModuleNotFoundError"),
        (["shop", "helo"], "error: no command is called 'helo'; did you mean 'hello'? known: "),
        (["shoop"], "error: no command or domain is called 'shoop'; did you mean 'shop'? known: "),
        (["list", "encodr"], "error: no kind is called 'encodr'; did you mean 'encoder'? known: "),
        (["show", "encoder", "colur"], "error: no encoder is called 'colur'; did you mean 'colour'? known: "),
        (["show", "domain", "shoop"], "error: no domain is called 'shoop'; did you mean 'shop'? known: shop"),
        (["shop", "recipe", "trian.epochs=1"], "error: no section of a recipe is called 'trian'; did you mean 'train'? known: "),
        (["shop", "recipe", "--recipe", "absent.toml"], "error: recipe absent.toml: No such file or directory; give a TOML file"),
        (["shop", "recipe", "--recipe", "kgrec_core:absent.toml"], "error: recipe kgrec_core:absent.toml: No such file or directory"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(words, told):
    done = run(*words)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith(told) and done.stderr.count("\n") == 1


def test_a_missing_domain_is_explained_by_its_plugin():
    done = run("half-way", plugins=("good", "half_way"))
    assert done.returncode == 2 and "plugin 'half_way' is broken: hook kgrec_encoder: ValueError" in done.stderr


def test_interrupted():
    done = run("shop", "interrupted")
    assert done.returncode == 130 and done.stderr.startswith("\nstopped; ") and done.stderr.count("\n") == 2


def test_a_reader_that_has_seen_enough():
    command = [sys.executable, "-c", MAIN, "list", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    os.close(writer)
    assert done.stderr == ""


def test_plugins():
    done = run("plugins", "--json", plugins=("good", "half_way", "too_new", "import_error"))
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(done.stdout)}
    for domain in ("ecommerce", "support", "finance"):  # installed beside, or not
        states.pop(domain, None)
    assert states == {"core": "active", "good": "active", "half_way": "broken", "too_new": "incompatible", "import_error": "blocked"}
    assert "too-new-plugin needs kgrec-core>=2" in run("plugins", plugins=("too_new",)).stdout


def test_list():
    rows = json.loads(run("list", "encoder", "--json").stdout)
    assert [(row["name"], row["plugin"]) for row in rows] == [
        ("text", "core"), ("tfidf", "core"), ("history", "core"), ("sequence", "core"), ("concat", "core"), ("kge", "core"), ("verbalize", "core"), ("gate", "core"), ("attention", "core"), ("propagate", "core"), ("auto", "core"), ("colour", "good"), ("good/text", "good")
    ]  # fmt: skip
    assert run("list", "domain").stdout.split() == ["domain", "shop", "good", "a", "shop", "for", "tests"]


def test_show():
    told = json.loads(run("show", "encoder", "colour", "--json").stdout)
    assert told["factory"] == "good_plugin.colour:Colour" and told["doc"] == "Even rows point one way, odd rows the other."
    scale, words = told["parameters"]
    assert scale == {"name": "scale", "type": "float", "required": False, "default": 1.0, "doc": "length of the vectors."}
    assert words["type"] == 'Path | "none"'
    assert "scale  float          = 1.0     length of the vectors." in run("show", "encoder", "colour").stdout
    assert "\nreads: history\nscales: " in run("show", "retrieval", "ease").stdout
    told = json.loads(run("show", "retrieval", "neighbours", "--json").stdout)
    assert told["reads"] == 'vectors where by = "vectors", else history' and told["scales"]
    assert run("show", "domain", "shop").stdout == (PLUGINS / "good" / "good_plugin" / "recipe.toml").read_text()
    assert json.loads(run("show", "domain", "shop", "--json").stdout)["recipe"]["train"] == {"epochs": 2}


def test_recipe_layers(tmp_path):
    (tmp_path / "mine.toml").write_text("[train]\nepochs = 3\nlr = 1e-5\n")
    done = run("shop", "recipe", "--recipe", str(tmp_path / "mine.toml"), "train.lr=2e-5", "--json")
    assert json.loads(done.stdout) == {"encoder": {"use": "colour", "words": "words.txt"}, "train": {"epochs": 3, "lr": 2e-5}}


def test_a_layer_that_a_package_brings():
    found = json.loads(run("shop", "recipe", "--recipe", "kgrec_core:beside.toml", "encoder.large.model=models/e5", "--json").stdout)[
        "encoder"
    ]
    assert found["use"] == "concat" and found["large"] == {"use": "text", "model": "models/e5", "train_layers": 0} and "words" not in found
