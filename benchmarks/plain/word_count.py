"""Plain loop of word count. Usage: word_count.py INPUT OUTPUT"""

import sys

source, target = sys.argv[1:]
counts: dict[str, int] = {}
get = counts.get
with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as output:
    write = output.write
    for line in lines:
        for word in line.split():
            count = counts[word] = get(word, 0) + 1
            write(f'["{word}",{count}]\n')
