# Reads a core file as debuggers do: its notes, and memory by address.
import struct
import sys

data = open(sys.argv[1], "rb").read()
phoff, = struct.unpack_from("<Q", data, 32)
phnum, = struct.unpack_from("<H", data, 56)
headers = [struct.unpack_from("<IIQQQQQQ", data, phoff + 56 * i) for i in range(phnum)]
print(data[:4], struct.unpack_from("<HH", data, 16), {kind for kind, *_ in headers} == {1, 4})

notes = {}
_, _, at, _, _, size, _, _ = next(header for header in headers if header[0] == 4)
end = at + size
while at < end:
    name, length, kind = struct.unpack_from("<III", data, at)
    start = at + 12 + (name + 3) // 4 * 4
    notes.setdefault((data[at + 12:at + 12 + name - 1].decode(), kind), []).append(data[start:start + length])
    at = start + (length + 3) // 4 * 4
print("threads", len(notes["CORE", 1]), "signal", struct.unpack_from("<i", notes["CORE", 1][0])[0])
print("name", notes["CORE", 3][0][40:56].rstrip(b"\0").decode())


def memory(address, length):
    for kind, _, offset, start, _, size, _, _ in headers:
        if kind == 1 and start <= address < start + size:
            return data[offset + address - start:][:length]


vector = notes["CORE", 6][0]
values = dict(struct.unpack_from("<QQ", vector, at) for at in range(0, len(vector), 16))
print("executed as", memory(values[31], 64).split(b"\0")[0].decode())
count, page = struct.unpack_from("<QQ", notes["CORE", 0x46494C45][0])
files = notes["CORE", 0x46494C45][0][16 + 24 * count:].split(b"\0")
print("mapped", page, any(b"/libc" in name for name in files))
