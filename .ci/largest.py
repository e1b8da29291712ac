"""Print the ten largest source files and functions, by lines. Functions end at a brace as far in as they begin."""

import re
import subprocess

BEGIN = re.compile(r"^(\s*)(?:pub\S* |const |unsafe |extern \S+ )*fn (\w+)|^()(?:__device__|static|inline|template|LATENS_ENTRY).*?(\w+)\(")
NAMES = ["*.rs", "*.cu", "*.cuh", "*.cpp", "*.hpp"]

files, functions = [], []
for path in subprocess.check_output(["git", "ls-files", *NAMES], text=True).split():
    with open(path) as text:
        lines = text.read().splitlines()
    files.append((len(lines), path))
    for at, line in enumerate(lines):
        begin = BEGIN.match(line)
        if not begin or line.rstrip().endswith((";", "}")):
            continue
        indent = begin.group(1) or ""
        end = next((i for i in range(at + 1, len(lines)) if lines[i].rstrip() == indent + "}"), at)
        functions.append((end - at + 1, f"{path}:{at + 1} {begin.group(2) or begin.group(4)}"))

for title, found in (("files", files), ("functions", functions)):
    print(f"Largest {title}:")
    for lines, name in sorted(found, reverse=True)[:10]:
        print(f"{lines:6} {name}")
