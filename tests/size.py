"""The size of the house: lines of Python of each package with its budget in `tests/budgets.toml`.

    python tests/size.py            print the packages; exit code 1 if one has grown past its budget
    python tests/size.py --rooms    print the rooms as well

A budget is raised only in the commit that says why. *Other text* is what the product reads other than Python: TOML, CSV, templates.
"""

import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
NOT_PRODUCT = ("tests", "benchmarks", "docs")
OTHER_SUFFIXES = {".toml", ".csv", ".txt", ".html", ".css", ".js", ".json", ".md"}


def list_files() -> list[Path]:
    """Return the files under version control, relative to the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    return [Path(name) for name in listed.decode().split("\0") if name and (REPOSITORY / name).is_file()]


def count_lines(files: list[Path]) -> Counter[Path]:
    """Count the lines of each file."""
    return Counter({file: len((REPOSITORY / file).read_bytes().splitlines()) for file in files})


def measure_packages(lines: Counter[Path]) -> Counter[str]:
    """Sum the lines of Python by package, and those of the product, with its other text."""
    sizes: Counter[str] = Counter()
    for file, number in lines.items():
        package = file.parts[0]
        in_product = package not in NOT_PRODUCT
        if file.suffix == ".py":
            sizes[package] += number
            sizes["product"] += number * in_product
        elif in_product and len(file.parts) > 1 and file.suffix in OTHER_SUFFIXES:
            sizes["other text"] += number
    return sizes


def measure_rooms(lines: Counter[Path]) -> dict[str, tuple[int, int]]:
    """Return the number of files and of lines of each folder with Python."""
    rooms: dict[str, tuple[int, int]] = {}
    for file, number in lines.items():
        if file.suffix == ".py":
            files, total = rooms.get(str(file.parent), (0, 0))
            rooms[str(file.parent)] = files + (file.name != "__init__.py"), total + number
    return rooms


def main() -> None:
    """Print the sizes, and end with 1 if one is beyond its budget."""
    limits = tomllib.loads((REPOSITORY / "tests" / "budgets.toml").read_text(encoding="utf-8"))
    lines = count_lines(list_files())
    sizes, rooms = measure_packages(lines), measure_rooms(lines)
    beyond = [name for name, budget in limits["lines"].items() if sizes[name] > budget]
    for name, budget in limits["lines"].items():
        print(f"{name:14}{sizes[name]:8,}  budget {budget:7,}{'  beyond it' if name in beyond else ''}")
    product = {room: files for room, (files, _) in rooms.items() if not room.startswith(NOT_PRODUCT)}
    full = [f"{room} ({files})" for room, files in product.items() if files > limits["files_in_a_room"]]
    if full:
        print(f"rooms of more than {limits['files_in_a_room']} files: {', '.join(full)}")
    if "--rooms" in sys.argv:
        for room, (files, total) in sorted(rooms.items()):
            print(f"{total:8,}{files:5}  {room}")
    sys.exit(bool(beyond or full))


if __name__ == "__main__":
    main()
