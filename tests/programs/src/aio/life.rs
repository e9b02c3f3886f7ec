//! What requests do, and how long contexts live.

use super::*;
use crate::child;

/// Reads, writes, syncs.
pub fn transfers(checks: &mut Checks) {
    let context = Context::new(4).expect("a context");
    let path = c"/tmp/probe-aio".as_ptr();
    // SAFETY: a path with its NUL.
    let file = unsafe { open(path, O_CREAT | O_TRUNC | O_RDWR, 0o600) };
    let (text, mut room) = (*b"asynchronous", [0_u8; 20]);
    let mut write = Block::new(PWRITE, file, text.as_ptr(), 12, 3);
    checks.equal("a write", context.does(&mut write), Ok(12));
    let mut read = Block::new(PREAD, file, room.as_mut_ptr(), 20, 0);
    checks.equal("a read up to the end", context.does(&mut read), Ok(15));
    checks.equal("what is there", &room[..15], b"\0\0\0asynchronous");
    checks.equal("behind the end", context.does(&mut Block { offset: 15, ..read }), Ok(0));
    checks.equal("nothing", context.does(&mut Block { length: 0, ..read }), Ok(0));
    // SAFETY: takes no address.
    checks.equal("the file's own position stays", unsafe { lseek(file, 0, SEEK_CUR) }, 0);
    checks.equal(
        "a bad buffer is told by the event",
        context.does(&mut Block { buffer: 8, ..read }),
        Ok(-i64::from(EFAULT)),
    );
    checks.equal("so it is of a write", context.does(&mut Block { buffer: 8, ..write }), Ok(-i64::from(EFAULT)));
    checks.equal("at the end", context.does(&mut Block { transfer_flags: 16, offset: 0, ..write }), Ok(12));
    let parts = |parts: &mut [u8]| [0, 5].map(|at| iovec { iov_base: parts[at..].as_mut_ptr().cast(), iov_len: 5 });
    let vectors = parts(&mut room);
    let both = Block::new(PREADV, file, vectors.as_ptr().cast(), 2, 15);
    checks.equal("into two", (context.does(&mut both.clone()), &room[..10]), (Ok(10), &text[..10]));
    checks.equal("from two", context.does(&mut Block { operation: PWRITEV, offset: 100, ..both }), Ok(10));
    for operation in [FSYNC, FDSYNC] {
        let mut sync = Block { operation, descriptor: file as u32, ..Block::default() };
        checks.equal("a sync", context.does(&mut sync), Ok(0));
    }
    let ends = pipe_ends();
    checks.equal("a pipe has no offset", context.does(&mut Block { descriptor: ends[1] as u32, ..write }), Ok(12));
    checks.equal("and gives what it has", context.does(&mut Block { descriptor: ends[0] as u32, ..read }), Ok(12));
    let bell = counter(0);
    let told = Block { flags: WITH_EVENT_FILE, event_file: bell as u32, ..write };
    checks.equal("an event file is told", (context.does(&mut told.clone()), count(bell)), (Ok(12), 1));
    checks.equal(
        "of errors too",
        (context.does(&mut Block { buffer: 8, ..told }), count(bell)),
        (Ok(-i64::from(EFAULT)), 1),
    );
    checks.equal("not of refusals", (context.start(&mut Block { offset: -1, ..told }), count(bell)), (Err(EINVAL), 0));
    // SAFETY: takes no address; a path with its NUL; ignoring a signal is always right.
    unsafe {
        signal(SIGPIPE, SIG_IGN);
        close(ends[0]);
        checks.equal(
            "nobody reads",
            context.does(&mut Block { descriptor: ends[1] as u32, ..write }),
            Ok(-i64::from(EPIPE)),
        );
        signal(SIGPIPE, SIG_DFL);
        unlink(path);
    }
    close_all(&[file, ends[1], bell]);
}

/// The ring as a program sees it.
pub fn ring(checks: &mut Checks) {
    let context = Context::new(1).expect("a context");
    let places = context.word(PLACES);
    checks.equal("its head", [4, 5, 6, 7].map(|word| context.word(word)), [0xa10a_10a1, 1, 0, 32]);
    checks.equal("whole pages", (places + 1).is_multiple_of(128), true);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let line = maps.lines().find(|line| line.starts_with(&format!("{:x}-", context.0))).unwrap_or_default();
    checks.equal("its line of maps", line.contains(" rw-s 00000000 ") && line.ends_with(" /[aio] (deleted)"), true);

    let file = counter(0);
    let mut block = Block::poll(file, POLLOUT);
    let mut fill = |count: usize| (0..count).take_while(|_| context.start(&mut block) == Ok(1)).count();
    // Linux may keep some places for other CPUs.
    let all = fill(places as usize + 5);
    checks.equal("many, and less than there are places", (64..places as usize).contains(&all), true);
    checks.equal("no more", fill(1), 0);
    checks.equal("some are reaped", context.get(0, 3, &mut zero()).map(|events| events.len()), Ok(3));
    checks.equal("their places are free", fill(10), 3);
    context.set_word(HEAD, (context.word(HEAD) + 2) % places);
    checks.equal("reaped without a call", fill(10), 2);
    checks.equal("the rest", context.get(0, 1000, &mut zero()).map(|events| events.len()), Ok(all));
    checks.equal("empty", context.word(HEAD) == context.word(TAIL), true);
    for value in [places, places + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0] {
        context.set_word(HEAD, value);
        context.set_word(TAIL, value.rotate_left(3));
        context.set_word(PLACES, value);
        fill(places as usize * 2);
        let most = context.get(0, 1000, &mut zero()).map(|events| events.len() < places as usize);
        checks.equal("words that lie", most, Ok(true));
    }
    // What it has said of that one, it can't take back.
    let another = Context::new(1).expect("a context");
    let mut list = vec![&raw mut block; places as usize * 2];
    let made = another.submit(&mut list);
    checks.equal(
        "no more at once than there is room for",
        made.is_ok_and(|made| (64..places.into()).contains(&made)),
        true,
    );
    // SAFETY: takes no address.
    unsafe { close(file) };
}

/// Polls that wait.
pub fn polls(checks: &mut Checks) {
    let context = Context::new(8).expect("a context");
    let (file, bell, ends) = (counter(0), counter(0), pipe_ends());
    let mut block = Block { flags: WITH_EVENT_FILE, event_file: bell as u32, ..Block::poll(file, POLLIN) };
    checks.equal("one that waits", (context.start(&mut block), count(bell)), (Ok(1), 0));
    checks.equal("no event yet", context.get(0, 1, &mut zero()), Ok(vec![]));
    add(file, 1);
    checks.equal("now there is one", context.wait(1), Ok(vec![block.event(POLLIN.into())]));
    checks.equal("and only one", (count(file), context.get(0, 1, &mut zero())), (1, Ok(vec![])));
    checks.equal("told", count(bell), 1);
    checks.equal("again", context.start(&mut block), Ok(1));
    checks.equal("it is cancelled", context.cancel(&mut block), Err(EINPROGRESS));
    checks.equal("which is an event", context.wait(1), Ok(vec![block.event(0)]));
    checks.equal("told too", count(bell), 1);
    checks.equal("not twice", context.cancel(&mut block), Err(EINVAL));

    let mut hang_up = Block::poll(ends[0], 0);
    checks.equal("asked for nothing", context.start(&mut hang_up), Ok(1));
    // SAFETY: takes no address.
    unsafe { close(ends[1]) };
    checks.equal("told of the end", context.wait(1), Ok(vec![hang_up.event(POLLHUP.into())]));
    let late = child::start(|| {
        // SAFETY: takes no address.
        unsafe { usleep(20_000) };
        add(file, 1);
        0
    });
    checks.equal("one for whom it is waited", context.start(&mut block), Ok(1));
    checks.equal("by another process", (context.wait(1), late()), (Ok(vec![block.event(POLLIN.into())]), 0));
    count(file);
    // The file lives as long as somebody waits for it.
    let [reader, writer] = pipe_ends();
    let mut kept = Block::poll(reader, POLLIN);
    checks.equal("of a file", context.start(&mut kept), Ok(1));
    // SAFETY: takes no address, and a byte that lives until the call is over.
    let closed = unsafe { close(reader) == 0 && write(writer, c"x".as_ptr().cast(), 1) == 1 };
    // Linux tells more than was asked here.
    let told = context.wait(1).map(|events| events[0].result & i64::from(POLLIN));
    checks.equal("that is closed", (closed, told), (true, Ok(POLLIN.into())));

    count(bell);
    checks.equal("at the end of a context", context.start(&mut block), Ok(1));
    checks.equal("what waits is ended", (context.end(), count(bell)), (Ok(0), 1));
    close_all(&[file, bell, ends[0], writer]);
}

/// Whose contexts they are.
pub fn spaces(checks: &mut Checks) {
    let (before, file, bell) = (requests(), counter(0), counter(0));
    let context = Context::new(8).expect("a context");
    checks.equal("counted", requests(), before + 8);
    let mut block = Block { flags: WITH_EVENT_FILE, event_file: bell as u32, ..Block::poll(file, POLLIN) };
    checks.equal("one that waits", context.start(&mut block), Ok(1));
    let in_child = child::status(|| {
        let magic = context.word(4) == 0xa10a_10a1;
        i32::from(!(magic && context.wait(0) == Err(EINVAL) && context.end() == Err(EINVAL)))
    });
    checks.equal("a child sees the ring and has no context", (in_child, requests(), count(bell)), (0, before + 8, 0));
    let ended = child::status(|| {
        let own = Context::new(100).expect("a context");
        let fine = own.start(&mut block.clone()) == Ok(1) && requests() == before + 108;
        std::mem::forget(own);
        i32::from(!fine)
    });
    checks.equal("a child's own ends with it", (ended, requests(), count(bell)), (0, before + 8, 1));
    let executed = child::status(|| {
        let own = Context::new(100).expect("a context");
        if own.start(&mut block.clone()) != Ok(1) {
            return 1;
        }
        let arguments = [c"probe".as_ptr(), c"nothing".as_ptr(), std::ptr::null()];
        // SAFETY: the strings have their NULs, and the list its end.
        unsafe { execv(c"/proc/self/exe".as_ptr(), arguments.as_ptr()) };
        2
    });
    checks.equal("a program has none of the one before", (executed, requests(), count(bell)), (0, before + 8, 1));
    let short = Context::new(1).expect("a context");
    let waiting = std::mem::ManuallyDrop::new(Context(short.0));
    let waits = std::thread::spawn(move || waiting.wait(1));
    checks.equal("the end of a context", short.end(), Ok(0));
    checks.equal("is that of every wait", waits.join().ok(), Some(Err(EINVAL)));
    let size = (context.word(PLACES) as usize + 1) * 32;
    // SAFETY: the ring is mapped there, and nothing of Rust's lies in it.
    let moved = unsafe {
        let to = mmap(null_mut(), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        let from = context.0 as *mut c_void;
        let longer = mremap(from, size, size + 4096, MREMAP_MAYMOVE);
        checks.check(
            "it keeps its length",
            longer == MAP_FAILED && std::io::Error::last_os_error().raw_os_error() == Some(EFAULT),
        );
        mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to)
    };
    let there = Context(moved as u64);
    checks.equal("it was there", context.get(0, 1, &mut zero()), Err(EINVAL));
    add(file, 1);
    checks.equal("and is here", there.wait(1), Ok(vec![block.event(POLLIN.into())]));
    // SAFETY: as above.
    unsafe { munmap(moved, size) };
    checks.equal("without its ring it is lost", there.end(), Err(EINVAL));
    checks.equal("but counts", requests(), before + 8);
    // Nothing more can be done with it: it ends with this program.
    std::mem::forget((context, there));
    close_all(&[file, bell]);
}

extern "C" fn nothing(_signal: c_int) {}

/// Waits that signals end.
pub fn signals(checks: &mut Checks) {
    let context = Context::new(4).expect("a context");
    let (file, ready) = (counter(0), counter(1));
    // SAFETY: all zeros is a sigaction, and a handler that does nothing may run at any time.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (nothing as *const () as usize, SA_RESTART);
        sigaction(SIGALRM, &raw const action, null_mut());
    }
    let soon = |act: &dyn Fn() -> Result<Vec<Event>, i32>| {
        let often = timeval { tv_sec: 0, tv_usec: 20_000 };
        let timer = itimerval { it_interval: often, it_value: often };
        let off =
            itimerval { it_interval: timeval { tv_sec: 0, tv_usec: 0 }, it_value: timeval { tv_sec: 0, tv_usec: 0 } };
        // SAFETY: the timers live until the calls are over.
        unsafe { setitimer(ITIMER_REAL, &raw const timer, null_mut()) };
        let found = act();
        // SAFETY: as above.
        unsafe { setitimer(ITIMER_REAL, &raw const off, null_mut()) };
        found
    };
    checks.equal("a signal ends a wait", soon(&|| context.wait(1)), Err(EINTR));
    let mut block = Block::poll(ready, POLLIN);
    checks.equal("one event", context.start(&mut block), Ok(1));
    checks.equal("what is there is not lost", soon(&|| context.wait(2)), Ok(vec![block.event(POLLIN.into())]));
    let masked = || {
        let (none, mut event) = (0_u64, Event::default());
        let mask = [&raw const none as u64, 8];
        // SAFETY: all of it lives until the call is over.
        result(unsafe { syscall(SYS_IO_PGETEVENTS, context.0, 1_i64, 1_i64, &raw mut event, 0_i64, mask.as_ptr()) })
            .map(|_| vec![])
    };
    // SAFETY: all zeros is a set, and they live until the calls are over.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        sigaddset(&raw mut set, SIGALRM);
        sigprocmask(SIG_BLOCK, &raw const set, null_mut());
        checks.equal("a mask that lets it through", soon(&masked), Err(EINTR));
        sigprocmask(SIG_UNBLOCK, &raw const set, null_mut());
    }
    close_all(&[file, ready]);
}
