"""YAML to typed stages: every key, type and range is checked, and a mistake is one sentence with file and line."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import annotated_types
import pydantic
import yaml

from mocap import registry, yaml_tree
from mocap.errors import ConfigError, MocapError, UnknownName, unknown_name_sentence
from mocap.registry import Named, folded
from mocap.stages.base import Stage
from mocap.yaml_tree import Located

Options = TypeVar("Options")

STAGES = Named("mocap.stages", "stage")
_OFF = ("off", "false", "no")
"""What a stage or a loss is set to in order to leave it out."""

_EASYMOCAP = {
    "detect": "detect",
    "keypoints2d": "detect and associate",
    "keypoints2dyolo": "detect and associate",
    "triangulate": "triangulate",
    "loadbodymodel": "load_body_model",
    "initparams": "fit_shape (it starts from the mean shape by itself)",
    "fitshape": "fit_shape",
    "initrt": "init_rt",
    "refineposes": "refine_poses",
    "write": "write",
    "renderground": "render_ground",
    "render": "make_video",
    "makevideo": "make_video",
}
"""EasyMocap's names of steps, folded, and the stages here that do their work."""


@dataclass(frozen=True)
class Step:
    """One stage of an experiment under its label."""

    label: str
    stage: Stage
    where: Located

    @property
    def name(self) -> str:
        """The stage's own name: that of its file."""
        return file_name(self.stage, STAGES.package)


@dataclass(frozen=True)
class Experiment:
    """What is to be done, checked and typed."""

    output: Path
    steps: tuple[Step, ...]
    report: bool = True
    """Whether `report.html` is written at the end."""

    def resolved(self) -> dict[str, Any]:
        """Everything with its defaults, as it would be written in YAML."""
        return {
            "output": str(self.output.absolute()),  # so that it holds from another folder
            "report": self.report,
            "stages": {s.label: named_options(s.label, s.stage, STAGES) for s in self.steps},
        }


def read_experiment(
    path: Path, *, overrides: Sequence[Override] = (), output: Path | None = None, plugins: bool = False
) -> Experiment:
    """The experiment in a YAML file.

    Args:
        path: The file.
        overrides: As given to `--set`, for the experiment.
        output: Takes the place of the file's own `output`.
        plugins: Whether a dotted path in `stage:` may be imported, which runs its code.
    """
    tree = yaml_tree.read(path)
    _refuse_easymocap(tree)
    for override in overrides:
        tree = override.applied(tree)
    entries = tree.entries
    known = entries["stages"].entries if "stages" in entries else {}
    for override in overrides:
        if override.keys[0] in known:
            told = f'Stages are options of "stages": say --set stages.{".".join(override.keys)}=...'
            raise ConfigError(told, file=override.said)
    _refuse_unknown(tree, ("output", "report", "stages"), "key of an experiment")
    if "stages" not in entries or not entries["stages"].entries:
        raise tree.error('The experiment has no "stages"; list them by name, as in "stages: {detect: {}, ...}".')
    written = entries.get("output")
    if output is None and (written is None or not isinstance(written.value, str)):
        raise (written or tree).error('"output" must name a folder (or give --out).')
    report = entries.get("report")
    page = "true" if report is None else str(report.value).casefold()
    if report is not None and page not in (*_OFF, "on", "true", "yes"):
        raise report.error('"report" must be true or false: whether report.html is written.')
    made = _named_entries(entries["stages"], STAGES, Stage, plugins=plugins)
    steps = tuple(Step(label, stage, where) for label, (stage, where) in made.items())
    if not steps:
        raise entries["stages"].error("Every stage is switched off.")
    return Experiment(output if output is not None else Path(str(written.value)), steps, page not in _OFF)  # type: ignore[union-attr]


def read_options(cls: type[Options], tree: Located, what: str, *, plugins: bool = False) -> Options:
    """An object of a class made by `options` from a piece of YAML; `what` names it in sentences."""
    fields = _fields(cls)
    _refuse_unknown(tree, fields, f"option of {what}")
    values = {key: _value(child, fields[key], f"{what}, {key}", plugins=plugins) for key, child in tree.entries.items()}
    try:
        return cls(**values)
    except pydantic.ValidationError as error:
        raise _told(error, cls, tree, what) from error
    except ConfigError:
        raise
    except MocapError as error:
        raise tree.error(f"{what}: {error}") from error


def named_objects(tree: Located, marker: Named, base: type[Options]) -> dict[str, Options]:
    """Objects by their label, from names with options; a list of names has those of defaults."""
    return {label: made for label, (made, _) in _named_entries(tree, marker, base, plugins=False).items()}


def _value(tree: Located, field: Any, what: str, *, plugins: bool) -> Any:
    """What the constructor is to be given for one field: text for pydantic to type, or objects already made."""
    marker = next((m for m in field.metadata if isinstance(m, Named)), None)
    annotation = _without_none(field.annotation)
    if marker is not None and tree.value is not None:
        base = _base(annotation)
        if base is not annotation:  # Mapping[str, Base]
            return {label: made for label, (made, _) in _named_entries(tree, marker, base, plugins=plugins).items()}
        return _named_one(tree, marker, base, plugins=plugins)
    if _is_options(annotation) and tree.value is not None:
        return read_options(annotation, tree, what, plugins=plugins)
    takes_path = annotation is Path or Path in typing.get_args(annotation)
    if takes_path and isinstance(tree.value, str) and tree.value not in _choices(annotation):
        return look_up(tree.value, tree.file)
    return tree.plain()


def shipped(path: Path) -> Path | None:
    """The configuration of that name that came with the program: beside its code in a checkout, else as installed."""
    checkout = Path(__file__).resolve().parents[1] / path
    if checkout.is_file() and path.parts[:1] == ("config",):
        return checkout
    try:
        files = metadata.files("mocap") or ()
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(f.locate())).resolve() for f in files if f.as_posix().endswith(f"share/mocap/{path.as_posix()}"))
    return next((f for f in found if f.is_file()), None)


def look_up(path: str | Path, file: str | Path) -> Path:
    """A path written in a configuration file: as seen from the current folder, else from the file's own, upward.

    So `config/datasets/mvimage.yml` may say `root: data/examples/walk` and works from any folder. What is found
    nowhere is meant from the current folder.
    """
    path = Path(path).expanduser()
    folders = Path(file).resolve().parents if Path(file).is_file() else ()
    return next((base / path for base in folders if not path.exists() and (base / path).exists()), path)


def _named_entries(tree: Located, marker: Named, base: type, *, plugins: bool) -> dict[str, tuple[Any, Located]]:
    made = {}
    for label, child in tree.named.items():
        if isinstance(child.value, str) and child.value.casefold() in _OFF:
            continue
        entries = dict(child.entries)
        name = entries.pop(marker.kind, None)
        if name is not None and not isinstance(name.value, str):
            raise name.error(f'"{marker.kind}" must name a {marker.kind}.')
        cls = _class(marker, str(name.value) if name else label, base, name or child, plugins=plugins)
        rest = Located(entries, child.file, child.line)
        made[label] = read_options(cls, rest, f'{marker.kind} "{label}"', plugins=plugins), child
    return made


def _named_one(tree: Located, marker: Named, base: type, *, plugins: bool) -> Any:
    if isinstance(tree.value, str):
        cls = _class(marker, tree.value, base, tree, plugins=plugins)
        return read_options(cls, Located(None, tree.file, tree.line), f'{marker.kind} "{tree.value}"', plugins=plugins)
    made = _named_entries(tree, marker, base, plugins=plugins)
    if len(made) != 1:
        raise tree.error(f"Exactly one {marker.kind} belongs here, not {', '.join(made) or 'none'}.")
    return next(iter(made.values()))[0]


def _class(marker: Named, name: str, base: type, at: Located, *, plugins: bool) -> type:
    try:
        if "." not in name:
            return registry.find(marker.package, name, base, marker.kind)
        if not plugins:
            raise ConfigError(
                f'"{name}" is a dotted path; code named in a configuration is imported only with --allow-plugins. '
                f"Known: {', '.join(registry.names(marker.package))}."
            )
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # a plug-in beside the configuration; behind everything installed
        return registry.find_dotted(name, base, marker.kind)
    except MocapError as error:
        raise at.error(str(error)) from error


@dataclass(frozen=True)
class Override:
    """One `--set a.b.c=value`."""

    said: str
    keys: tuple[str, ...]
    value: Located

    @classmethod
    def of(cls, text: str) -> Override:
        """Parsed; the value is YAML, so that lists can be given."""
        path, equals, value = text.partition("=")
        keys = tuple(path.strip().split("."))
        said = f"--set {text}"
        if not equals or not all(keys):
            raise ConfigError('This must read "stages.STAGE.OPTION=VALUE" or "data.OPTION=VALUE".', file=said)
        return cls(said, keys, Located(yaml_tree.parse(value, said).value, said))

    @classmethod
    def given(cls, said: str, key: str, value: object) -> Override:
        """A flag that stands for one option: `--subs 01 02`."""
        items = tuple(Located(str(v), said) for v in value) if isinstance(value, (list, tuple)) else str(value)
        return cls(said, (key,), Located(items, said))

    def applied(self, tree: Located) -> Located:
        """The tree with it; keys are spelled as the file spells them, so fitShape means its fit_shape."""
        here, exact = tree, []
        for wanted in self.keys:
            known = here.value if isinstance(here.value, Mapping) else {}
            same = [k for k in known if k == wanted] or [k for k in known if folded(k) == folded(wanted)]
            if not same and exact == ["stages"]:
                raise ConfigError(unknown_name_sentence("stage of this experiment", wanted, known), file=self.said)
            exact.append(same[0] if same else wanted)
            here = known[same[0]] if same else Located(None, self.said)
        return yaml_tree.overridden(tree, tuple(exact), self.value)


def _refuse_unknown(tree: Located, known: Iterable[str], kind: str) -> None:
    known = tuple(known)
    for key, child in tree.entries.items():
        if key not in known:
            raise child.error(unknown_name_sentence(kind, key, known))


def _refuse_easymocap(tree: Located) -> None:
    """Recognises an experiment in EasyMocap's own layout and names the stages that do its work here."""
    if not isinstance(tree.value, Mapping) or "stages" in tree.value or "module" not in tree.value:
        return
    args = tree.value.get("args", tree).value
    parts = [args[part].value for part in ("at_step", "at_final") if part in args] if isinstance(args, Mapping) else []
    steps = [name for part in parts if isinstance(part, Mapping) for name in part]
    told = "; ".join(f"{name} -> {_EASYMOCAP.get(folded(name), 'no counterpart')}" for name in steps)
    raise tree.error(
        "This experiment is in EasyMocap's own layout (module:, args:), which names Python classes to import. "
        + (f"The stages that correspond: {told}. " if told else "")
        + 'Write them under "stages:", as config/fitSMPL.yml does.'
    )


# ---------------------------------------------------------------------------------------------- types in words


def _fields(cls: type) -> dict[str, Any]:
    return dict(getattr(cls, "__pydantic_fields__", {}))


def _is_options(annotation: Any) -> bool:
    return isinstance(annotation, type) and "__pydantic_fields__" in vars(annotation)


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        left = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(left) == 1:
            return _without_none(left[0])
    if typing.get_origin(annotation) is typing.Annotated:
        return _without_none(typing.get_args(annotation)[0])
    return annotation


def _bounds(metadata: Iterable[Any]) -> str:
    """'greater than 0 and at most 1', from pydantic's constraints."""
    told = []
    for m in metadata:
        if isinstance(m, annotated_types.GroupedMetadata):
            told.append(_bounds(m))
        for kind, word in (
            (annotated_types.Gt, "greater than"),
            (annotated_types.Ge, "at least"),
            (annotated_types.Lt, "less than"),
            (annotated_types.Le, "at most"),
        ):
            if isinstance(m, kind):
                told.append(f"{word} {getattr(m, kind.__name__.lower())}")
        if isinstance(m, annotated_types.MinLen):
            told.append(f"with at least {m.min_length}")
    return " and ".join(t for t in told if t)


def described(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in a user's words: 'a number greater than 0', 'one of easymocap, amass'."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return described(args[0], (*args[1:], *metadata))
    bounds = _bounds(metadata)
    tail = f" {bounds}" if bounds else ""
    if origin in (typing.Union, types.UnionType):
        left = [described(a, metadata) for a in args if a is not type(None)]
        return " or ".join([*left, *(["null"] if type(None) in args else [])])
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, args))
    if marker := next((m for m in metadata if isinstance(m, Named)), None):
        many = origin is not None
        known = ", ".join(registry.names(marker.package))
        return f"{'named ' + marker.kind + ' entries' if many else 'a ' + marker.kind} among {known}"
    if args and origin in (tuple, list, frozenset, set, Sequence):
        if origin is tuple and Ellipsis not in args:
            return f"a list of {len(args)}: {', '.join(described(a) for a in args)}"
        return f"a list{tail} of: {described(args[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"named entries{tail}, each {described(args[1])}"
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "text", Path: "a path"}
    return words.get(annotation, "named options" if _is_options(annotation) else str(annotation)) + tail


def _told(error: pydantic.ValidationError, cls: type, tree: Located, what: str) -> ConfigError:
    """The first mistake pydantic found, as a sentence with its place."""
    first = error.errors(include_url=False)[0]
    where = tree.at(first["loc"])
    name = str(first["loc"][0]) if first["loc"] else ""
    field = _fields(cls).get(name)
    if field is None:
        return where.error(f"{what}: {first['msg']}.")
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return where.error(f'{what} needs "{name}": {described(field.annotation, field.metadata)}.')
    if first["type"] == "literal_error" and isinstance(where.value, str):
        known = _choices(field.annotation)
        if known:
            return where.error(f"{what}: {unknown_name_sentence(f'choice for {name}', where.value, known)}")
    if first["type"] in ("value_error", "assertion_error"):
        return where.error(f"{what}: {name}: {first['msg'].partition(', ')[2]}.".replace("..", "."))
    return where.error(f"{what}: {name} must be {described(field.annotation, field.metadata)}, not {where.told()}.")


def choices(cls: type, field: str) -> tuple[str, ...]:
    """The words a field of a stage may hold."""
    found = _fields(cls)[field]
    marker = next((m for m in found.metadata if isinstance(m, Named)), None)
    return registry.names(marker.package) if marker else _choices(found.annotation)


def _choices(annotation: Any) -> tuple[str, ...]:
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(map(str, typing.get_args(annotation)))
    return next((found for a in typing.get_args(annotation) if (found := _choices(a))), ())


# ---------------------------------------------------------------------------------------------- back to YAML


def file_name(thing: object, package: str) -> str:
    """The name a plug-in goes by in YAML: that of its file, or its dotted path when it stands outside `package`."""
    cls = thing if isinstance(thing, type) else type(thing)
    module, _, name = cls.__module__.rpartition(".")
    return name if module == package else f"{module}.{name}.{cls.__name__}"


def plain(value: Any) -> Any:
    """A typed value as YAML would hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        marked = {n: m for n, f in _fields(type(value)).items() for m in f.metadata if isinstance(m, Named)}
        return {
            f.name: _plain_named(getattr(value, f.name), marked[f.name])
            if f.name in marked
            else plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if isinstance(value, Path):
        return str(value.absolute() if value.exists() else value)  # so that it holds from another folder
    return value


def _plain_named(value: Any, marker: Named) -> Any:
    if isinstance(value, Mapping):
        return {label: named_options(label, made, marker) for label, made in value.items()}
    return None if value is None else {file_name(value, marker.package): plain(value)}


def named_options(label: str, made: Any, marker: Named) -> dict[str, Any]:
    """The options of a stage or loss, with its name inside where the label is not it."""
    name = file_name(made, marker.package)
    return ({} if label == name else {marker.kind: name}) | plain(made)


def dump(tree: Mapping[str, Any], *, header: str = "") -> str:
    """YAML text that reads back as the same configuration."""
    text = yaml.safe_dump(dict(tree), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    return "".join(f"# {line}\n" for line in header.splitlines()) + text


# ---------------------------------------------------------------------------------------------- help


@dataclass(frozen=True)
class Option:
    """What is told of one option of a stage, loss, detector or format."""

    name: str
    type: str
    """In words."""
    default: str | None
    """As YAML has it; None: it must be given."""
    help: str


def options_of(cls: type) -> list[Option]:
    """Every option of a class made by `options`, in order."""
    return [
        Option(
            name,
            described(field.annotation, field.metadata),
            None if field.is_required() else _default(field),
            field.description or "",
        )
        for name, field in _fields(cls).items()
    ]


def plugins_of(cls: type) -> list[tuple[str, str, type]]:
    """What the options of a class may name: kind (as in "loss"), name and class of each."""
    return [
        (marker.kind, name, registry.find(marker.package, name, _base(field.annotation), marker.kind))
        for field in _fields(cls).values()
        for marker in (m for m in field.metadata if isinstance(m, Named))
        for name in registry.names(marker.package)
    ]


def flow_of(stage: type[Stage]) -> dict[str, str]:
    """What a stage needs and gives, in words."""
    named = {told: ", ".join(sorted(getattr(stage, told))).replace("|", " or ") for told in ("needs", "gives")}
    return {told: names or "nothing" for told, names in named.items()}


def describe(cls: type, *, indent: str = "") -> str:
    """What `emc --help-stage` shows of a stage or loss: its purpose, then every option with type, default, help."""
    lines = [inspect.getdoc(cls) or ""]
    if issubclass(cls, Stage):
        lines += ["", *(f"{told}: {names}" for told, names in flow_of(cls).items())]
    options = options_of(cls)
    if options:
        lines += ["", "options:"]
    for option in options:
        default = "" if option.default is None else f" (default {option.default})"
        lines.append(f"  {option.name}: {option.type}{default}")
        lines += [f"      {line}" for line in option.help.splitlines()]
    for kind, name, found in plugins_of(cls):
        lines += ["", f"{kind} {name}:", describe(found, indent="  ")]
    return "\n".join(indent + line if line else line for line in "\n".join(lines).splitlines()).rstrip()


def _base(annotation: Any) -> type:
    """The class whose children a `Named` field holds: that of `Mapping[str, Base]`, or of a plain `Base`."""
    annotation = _without_none(annotation)
    return typing.get_args(annotation)[-1] if typing.get_args(annotation) else annotation


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    marker = next((m for m in field.metadata if isinstance(m, Named)), None)
    told = plain(value) if marker is None else _plain_named(value, marker)
    return yaml.safe_dump(told, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def stage_class(name: str) -> type[Stage]:
    """The stage of that name; UnknownName lists the known ones."""
    try:
        return registry.find(STAGES.package, name, Stage, STAGES.kind)  # type: ignore[type-abstract]
    except UnknownName as error:
        raise ConfigError(str(error)) from error
