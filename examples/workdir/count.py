"""Counts the letters of each word in a file."""

import sys

with open(sys.argv[1], encoding="utf-8") as words:
    for word in words:
        print(word.strip(), len(word.strip()))
