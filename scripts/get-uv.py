#!/usr/bin/python3
"""Fetches uv, which builds environments of Python modules, from the Python package index.

    get-uv.py FOLDER

puts the program into FOLDER. Version and digests stand here: what the index sends is compared with
them. It needs the standard library alone.
"""

import hashlib
import html.parser
import io
import os
import platform
import sys
import urllib.parse
import urllib.request
import zipfile

INDEX = "https://pypi.org/simple/uv/"
VERSION = "0.13.9"
WHEELS = {
    "x86_64": (
        f"uv-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    "aarch64": (
        f"uv-{VERSION}-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
        "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
    ),
}


class Links(html.parser.HTMLParser):
    """The addresses of an index page, by file name."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get("href") if tag == "a" else None
        if address:
            address = urllib.parse.urldefrag(urllib.parse.urljoin(INDEX, address)).url
            self.found[address.rsplit("/", 1)[-1]] = address


def get(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: get-uv.py FOLDER")
    folder = sys.argv[1]
    if platform.machine() not in WHEELS:
        sys.exit(f"there is no digest here for uv on {platform.machine()}; install it by hand")
    name, digest = WHEELS[platform.machine()]
    links = Links()
    links.feed(get(INDEX).decode())
    if name not in links.found:
        sys.exit(f"{INDEX} has no {name}")
    wheel = get(links.found[name])
    found = hashlib.sha256(wheel).hexdigest()
    if found != digest:
        sys.exit(f"{name} is not what was meant: its SHA-256 is {found}, meant was {digest}")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        program = archive.read(f"uv-{VERSION}.data/scripts/uv")
    os.makedirs(folder, exist_ok=True)
    new = os.path.join(folder, f".uv-{os.getpid()}")
    with open(new, "wb") as file:
        file.write(program)
    os.chmod(new, 0o755)
    os.rename(new, os.path.join(folder, "uv"))


if __name__ == "__main__":
    main()
