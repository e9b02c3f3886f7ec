# What /proc/self/io counts: bytes and calls of reads and writes, of a descriptor that isn't open none, and of a child all
# once it was waited for.
import os
import subprocess


def counts():
    descriptor = os.open("/proc/self/io", os.O_RDONLY)
    text = os.read(descriptor, 4096).decode()
    os.close(descriptor)
    values = dict(line.split(": ") for line in text.splitlines())
    return [int(values[name]) for name in ("rchar", "wchar", "syscr", "syscw")], len(text)


def between(action):
    before, looked = counts()
    action()
    after, _ = counts()
    read, written, reads, writes = (b - a for a, b in zip(before, after))
    # The first look is a read, too.
    return read - looked, written, reads - 1, writes


zero, null = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)


def read_and_write():
    os.read(zero, 1000)
    os.write(null, bytes(300))


def fail():
    try:
        os.read(999, 10)
    except OSError:
        pass


def run():
    subprocess.run(["dd", "if=/dev/zero", "of=/dev/null", "bs=1000", "count=7", "status=none"], check=True)


print(*between(read_and_write))
print(*between(fail))
print(between(run)[1])
