"""What the stub says is what the module has."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import aaren
import pytest
from aaren import _aaren

STUB = Path(aaren.__file__).with_name("_aaren.pyi")


def parameters(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    return [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs) if one.arg not in ("self", "cls")]


def test_the_stub_and_the_module_agree() -> None:
    names = {name for name in dir(_aaren) if not name.startswith("_")} | {"__version__"}
    declared = {}
    for item in ast.parse(STUB.read_text()).body:
        if isinstance(item, (ast.ClassDef, ast.FunctionDef)):
            declared[item.name] = item
        elif isinstance(item, ast.AnnAssign):
            declared[item.target.id] = item
    assert set(declared) == names
    for name, item in declared.items():
        real = getattr(_aaren, name)
        if isinstance(item, ast.FunctionDef):
            assert parameters(item) == list(inspect.signature(real).parameters), name
        if isinstance(item, ast.ClassDef) and name != "Error":
            methods = {method.name: method for method in item.body if isinstance(method, ast.FunctionDef)}
            assert {method for method in vars(real) if not method.startswith("_")} == set(methods) - {"__new__"}, name
            for method_name, method in methods.items():
                signature = inspect.signature(real if method_name == "__new__" else getattr(real, method_name))
                assert parameters(method) == [one for one in signature.parameters if one != "self"], f"{name}.{method_name}"


def test_everything_public_says_what_it_is() -> None:
    for name in aaren.__all__:
        thing = getattr(aaren, name)
        if callable(thing):
            assert (thing.__doc__ or "").strip(), name
            members = vars(thing).items() if inspect.isclass(thing) else []
            for member, value in members:
                if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert (value.__doc__ or "").strip(), f"{name}.{member}"


def test_types_check() -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", "--no-error-summary", "--ignore-missing-imports"]
    checked = subprocess.run([*command, "-p", "aaren"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
