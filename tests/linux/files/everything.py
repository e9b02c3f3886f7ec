"""Threads, processes, mapped memory, waiting on descriptors and signals, as Python programs use them."""

import ctypes, errno, fcntl, mmap, multiprocessing, os, queue, select, shutil, signal, socket, struct, subprocess, sys
import tempfile, threading, time


def threads():
    counter, lock, done = [0], threading.Lock(), queue.Queue()

    def work():
        for _ in range(200):
            with lock:
                counter[0] += 1
        done.put(threading.get_ident())

    workers = [threading.Thread(target=work) for _ in range(8)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    barrier, event = threading.Barrier(3), threading.Event()
    waiters = [threading.Thread(target=barrier.wait) for _ in range(2)]
    [waiter.start() for waiter in waiters]
    barrier.wait()
    threading.Timer(0.01, event.set).start()
    return counter[0], done.qsize(), event.wait(), event.wait(timeout=0.01)


def subprocesses():
    upper = subprocess.run(["tr", "a-z", "A-Z"], input="words", capture_output=True, text=True, check=True).stdout
    killed = subprocess.Popen(["sleep", "1000"])
    killed.send_signal(signal.SIGINT)
    first = subprocess.Popen(["seq", "5"], stdout=subprocess.PIPE)
    second = subprocess.Popen(["wc", "-l"], stdin=first.stdout, stdout=subprocess.PIPE)
    first.stdout.close()
    try:
        subprocess.run(["sleep", "1000"], timeout=0.05)
        late = "in time"
    except subprocess.TimeoutExpired:
        late = "too late"
    try:
        subprocess.run(["/no/such/program"])
    except FileNotFoundError as error:
        missing = errno.errorcode[error.errno]
    session = subprocess.run(["sh", "-c", "ps -o sid= -p $$"], capture_output=True, start_new_session=True)
    return upper, killed.wait(), int(second.communicate()[0]), late, missing, int(session.stdout) != os.getsid(0)


def mapped():
    with tempfile.TemporaryFile() as file:
        file.truncate(3 * mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), 0) as shared:
            shared[mmap.PAGESIZE - 2 : mmap.PAGESIZE + 2] = b"over"
            shared.flush()
            file.seek(mmap.PAGESIZE)
            second_half = file.read(2)
            shared.resize(mmap.PAGESIZE)
            length = len(shared)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as private:
            private[:3] = b"own"
            file.seek(0)
            untouched = file.read(3)
    anonymous = mmap.mmap(-1, mmap.PAGESIZE)
    if os.fork() == 0:
        anonymous.write(b"from the child")
        os._exit(0)
    os.wait()
    return second_half, length, untouched, anonymous.read(14)


def selected():
    reader, writer = os.pipe()
    empty = select.select([reader], [writer], [], 0)
    os.write(writer, b"x")
    full = select.select([reader], [], [], 10)[0] == [reader]
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    polled = poll.poll(10_000) == [(reader, select.POLLIN)]
    epoll = select.epoll()
    epoll.register(reader, select.EPOLLIN | select.EPOLLET)
    edges = len(epoll.poll(10)), len(epoll.poll(0))
    os.close(writer)
    hung_up = epoll.poll(10)[0][1] == select.EPOLLIN | select.EPOLLHUP
    left, right = socket.socketpair()
    with tempfile.TemporaryFile() as file:
        file.write(b"passed")
        file.flush()
        socket.send_fds(left, [b"fd"], [file.fileno()])
    _, (received,), _, _ = socket.recv_fds(right, 10, 1)
    return empty == ([], [writer], []), full, polled, edges, hung_up, os.pread(received, 10, 0)


def signals():
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGRTMIN])
    os.kill(os.getpid(), signal.SIGUSR2)
    pending = signal.sigpending() == {signal.SIGUSR2}
    waited = signal.sigwait([signal.SIGUSR2]) == signal.SIGUSR2
    late = signal.sigtimedwait([signal.SIGRTMIN], 0.01)
    signal.signal(signal.SIGALRM, lambda *_: seen.append("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause()
    reader, writer = os.pipe()
    signal.signal(signal.SIGALRM, lambda *_: os.write(writer, b"!"))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    restarted = os.read(reader, 1)
    crashed = os.fork()
    if crashed == 0:
        ctypes.string_at(0)
    status = os.waitpid(crashed, 0)[1]
    return len(seen), seen[-1], pending, waited, late, restarted, os.WTERMSIG(status) == signal.SIGSEGV


def square(number):
    return number * number


def processes():
    with multiprocessing.get_context("fork").Pool(3) as pool:
        squares = sum(pool.map(square, range(50)))
    context = multiprocessing.get_context("spawn")
    value = context.Value("i", 1)
    child = context.Process(target=double, args=(value,))
    child.start()
    child.join()
    ours, theirs = multiprocessing.Pipe()
    talker = multiprocessing.Process(target=lambda: theirs.send({"from": "a child"}))
    talker.start()
    message = ours.recv()
    talker.join()
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=100)
    memory.buf[0] = 7
    again = multiprocessing.shared_memory.SharedMemory(name=memory.name)
    first = again.buf[0]
    again.close(), memory.close(), memory.unlink()
    return squares, value.value, child.exitcode, message["from"], first


def double(value):
    with value.get_lock():
        value.value *= 2


def files():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "file")
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with open(path) as other:
            try:
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
                locked = "not locked"
            except BlockingIOError:
                locked = "locked"
        file.seek(1 << 20)
        file.write("end")
    holes = os.stat(path).st_blocks * 512 < 1 << 20
    copied = shutil.copytree(folder, folder + ".copy") == folder + ".copy"
    same = open(path, "rb").read() == open(folder + ".copy/file", "rb").read()
    shutil.rmtree(folder), shutil.rmtree(folder + ".copy")
    return locked, holes, copied, same, os.path.exists(path)


def main():
    import multiprocessing.shared_memory

    for test in [threads, subprocesses, mapped, selected, signals, processes, files]:
        if len(sys.argv) == 1 or test.__name__ in sys.argv:
            print(test.__name__, *test(), flush=True)


if __name__ == "__main__":
    main()
