"""A module imports from floors below its own; the two rooms of floor 1, exact and models, do not know each other."""

import ast
from pathlib import Path

import companion

HOUSE = Path(companion.__file__).parent
FLOORS = {
    "errors": 0,
    "arguments": 0,
    "files": 0,
    "forward": 0,
    "denoiser": 0,
    "entropy": 0,
    "exact": 1,
    "models": 1,
    "estimate": 2,
    "figures": 3,
    "cli": 4,
}


def imported_rooms(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[1] for name in names if name.startswith("companion.")}


def test_every_room_has_a_floor():
    rooms = {path.stem for path in HOUSE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} == set(FLOORS)


def test_imports_point_down():
    for module in HOUSE.rglob("*.py"):
        room = module.relative_to(HOUSE).parts[0].removesuffix(".py")
        for other in imported_rooms(module) - {room} if room != "__init__" else ():
            lower = FLOORS[other] < FLOORS[room] or FLOORS[other] == FLOORS[room] == 0
            assert lower, f"{module.name} of {room} imports {other}"
