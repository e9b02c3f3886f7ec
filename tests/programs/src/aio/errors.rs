//! What each call refuses, and in which order.

use super::*;

const BAD: u64 = 8;

/// io_setup, io_destroy, io_cancel.
pub fn set_up(checks: &mut Checks) {
    let set_up = |requests: c_long, start: u64| {
        let mut context = start;
        // SAFETY: the word lives until the call is over.
        let made = result(unsafe { syscall(SYS_io_setup, requests, &raw mut context) });
        drop(Context(context));
        made
    };
    // SAFETY: a bad address is what is tried.
    checks.equal("no place for the context", result(unsafe { syscall(SYS_io_setup, 0_i64, BAD) }), Err(EFAULT));
    checks.equal("for no request", set_up(0, 0), Err(EINVAL));
    checks.equal("there is one already", set_up(1, 1), Err(EINVAL));
    checks.equal("too many", set_up(5_000_000, 0), Err(EINVAL));
    checks.equal("more than all may have", set_up(4_000_000, 0), Err(EAGAIN));
    checks.equal("twice as many are none", set_up(0x8000_0000, 0), Err(EAGAIN));
    let context = Context::new(1).expect("a context");
    checks.equal("not where it is", Context(context.0 + 4096).end(), Err(EINVAL));
    checks.equal(
        "nowhere",
        (Context(0).end(), Context(BAD).end(), Context(u64::MAX).end()),
        (Err(EINVAL), Err(EINVAL), Err(EINVAL)),
    );
    let mut block = Block::default();
    // SAFETY: a bad address is what is tried.
    checks.equal("no request", result(unsafe { syscall(SYS_io_cancel, context.0, BAD, 0_i64) }), Err(EFAULT));
    block.key = 1;
    checks.equal("one that was not made", Context(0).cancel(&mut block), Err(EINVAL));
    block.key = 0;
    checks.equal("one that is not under way", context.cancel(&mut block), Err(EINVAL));
    let number = context.word(NUMBER);
    context.set_word(NUMBER, number ^ 0x55);
    checks.equal("another number in the ring", context.end(), Err(EINVAL));
    context.set_word(NUMBER, number);
    checks.equal("an end", context.end(), Ok(0));
    checks.equal("only one", context.end(), Err(EINVAL));
    checks.equal("there is none any more", (context.cancel(&mut block), context.wait(0)), (Err(EINVAL), Err(EINVAL)));
}

/// io_submit.
pub fn submit(checks: &mut Checks) {
    let context = Context::new(4).expect("a context");
    let file = c"/tmp/probe-aio".as_ptr();
    // SAFETY: a path with its NUL.
    let (both, only_write, only_read) =
        unsafe { (open(file, O_CREAT | O_RDWR, 0o600), open(file, O_WRONLY), open(file, O_RDONLY)) };
    // SAFETY: paths with their NULs.
    let (directory, path) = unsafe { (open(c"/tmp".as_ptr(), O_RDONLY), open(file, O_PATH)) };
    let bytes = [1_u8; 16];
    let at = bytes.as_ptr();
    let good = Block::new(PWRITE, both, at, 16, 0);
    let try_one = |block: Block| context.start(&mut block.clone());
    // SAFETY: bad addresses are what is tried.
    let raw = |count: c_long, list: u64| result(unsafe { syscall(SYS_io_submit, context.0, count, list) });
    checks.equal("a count below 0", raw(-1, BAD), Err(EINVAL));
    checks.equal("no request at all", raw(0, BAD), Ok(0));
    checks.equal("no list", raw(1, BAD), Err(EFAULT));
    checks.equal("no such context", Context(0).start(&mut good.clone()), Err(EINVAL));
    checks.equal("no request", context.submit(&mut [BAD as *mut Block]), Err(EFAULT));
    checks.equal("reserved", try_one(Block { reserved: 1, descriptor: u32::MAX, ..good }), Err(EINVAL));
    checks.equal("a length below 0", try_one(Block { length: 1 << 63, descriptor: u32::MAX, ..good }), Err(EINVAL));
    checks.equal("no such file", try_one(Block { descriptor: u32::MAX, operation: 99, ..good }), Err(EBADF));
    checks.equal("only a path", try_one(Block { descriptor: path as u32, ..good }), Err(EBADF));
    let told = Block { flags: WITH_EVENT_FILE, operation: 99, ..good };
    checks.equal("no such event file", try_one(Block { event_file: u32::MAX, ..told }), Err(EBADF));
    checks.equal("no event file", try_one(Block { event_file: both as u32, ..told }), Err(EINVAL));
    for operation in [4, 6, 9, 99, u16::MAX] {
        checks.equal("no such operation", try_one(Block { operation, ..good }), Err(EINVAL));
    }
    checks.equal(
        "not for reading",
        try_one(Block { operation: PREAD, descriptor: only_write as u32, ..good }),
        Err(EBADF),
    );
    checks.equal("not for writing", try_one(Block { descriptor: only_read as u32, ..good }), Err(EBADF));
    checks.equal("a directory", try_one(Block { operation: PREAD, descriptor: directory as u32, ..good }), Err(EINVAL));
    checks.equal("an offset below 0", try_one(Block { offset: -1, ..good }), Err(EINVAL));
    checks.equal("beyond the largest", try_one(Block { offset: i64::MAX, ..good }), Err(EINVAL));
    checks.equal(
        "no such flag",
        try_one(Block { transfer_flags: 1 << 20, descriptor: only_read as u32, ..good }),
        Err(EOPNOTSUPP),
    );
    checks.equal("beyond user space", try_one(Block { buffer: u64::MAX - 5, ..good }), Err(EFAULT));
    checks.equal("too many vectors", try_one(Block { operation: PWRITEV, length: 1025, ..good }), Err(EINVAL));
    checks.equal("no vectors", try_one(Block { operation: PWRITEV, buffer: BAD, length: 1, ..good }), Err(EFAULT));
    let vector = [iovec { iov_base: at as *mut c_void, iov_len: usize::MAX }];
    let long = Block { operation: PWRITEV, buffer: vector.as_ptr() as u64, length: 1, ..good };
    checks.equal("a length that can't be", try_one(long), Err(EINVAL));
    let with =
        |priority: i32| Block { flags: WITH_PRIORITY, priority: priority as i16, descriptor: only_read as u32, ..good };
    checks.equal("no such priority", (try_one(with(5 << 13)), try_one(with(1))), (Err(EINVAL), Err(EINVAL)));
    checks.equal("a priority", try_one(with(2 << 13 | 7)), Err(EBADF));
    let sync = Block { operation: FSYNC, descriptor: both as u32, ..Block::default() };
    checks.equal(
        "a sync of a part",
        (try_one(Block { length: 1, ..sync }), try_one(Block { offset: 1, ..sync })),
        (Err(EINVAL), Err(EINVAL)),
    );
    let ends = pipe_ends();
    checks.equal("a sync of a pipe", try_one(Block { descriptor: ends[0] as u32, ..sync }), Err(EINVAL));
    let poll = Block::poll(ends[0], POLLIN);
    checks.equal("no such events", try_one(Block { buffer: 0x1_0000, ..poll }), Err(EINVAL));
    checks.equal(
        "a poll of a part",
        (try_one(Block { length: 1, ..poll }), try_one(Block { offset: 1, ..poll })),
        (Err(EINVAL), Err(EINVAL)),
    );
    checks.equal("a poll with flags", try_one(Block { transfer_flags: 1, ..poll }), Err(EINVAL));
    checks.equal("what is never ready", try_one(Block::poll(both, POLLPRI)), Err(EINVAL));
    checks.equal("nothing came of all that", context.get(0, 4, &mut zero()), Ok(vec![]));

    let (mut first, mut bad, mut last) = (good, Block { operation: 99, ..good }, good);
    checks.equal("up to the bad one", context.submit(&mut [&raw mut first, &raw mut bad, &raw mut last]), Ok(1));
    checks.equal("its event", context.wait(1), Ok(vec![first.event(16)]));
    checks.equal("up to the bad address", context.submit(&mut [&raw mut first, BAD as *mut Block]), Ok(1));
    checks.equal("its event too", context.wait(1).map(|events| events.len()), Ok(1));
    first.key = 7;
    checks.equal("the key is the kernel's", (context.does(&mut first), first.key), (Ok(16), 0));
    close_all(&[both, only_write, only_read, directory, path, ends[0], ends[1]]);
    // SAFETY: a path with its NUL.
    unsafe { unlink(file) };
}

/// io_getevents and io_pgetevents.
pub fn reap(checks: &mut Checks) {
    let context = Context::new(4).expect("a context");
    let file = counter(0);
    let get = |least, most| context.get(least, most, &mut zero());
    checks.equal("no such context", Context(0).get(2, 1, &mut zero()), Err(EINVAL));
    checks.equal("counts", (get(-1, 1), get(2, 1), get(0, -1)), (Err(EINVAL), Err(EINVAL), Err(EINVAL)));
    checks.equal("a bad time", Context(0).get(2, 1, BAD as *mut timespec), Err(EFAULT));
    checks.equal("none", (get(0, 0), get(0, 1), get(1, 1)), (Ok(vec![]), Ok(vec![]), Ok(vec![])));
    checks.equal("none are waited for", context.wait(0), Ok(vec![]));
    let time = |tv_sec, tv_nsec| context.get(1, 1, &mut timespec { tv_sec, tv_nsec });
    checks.equal("a short time, oddly said", time(0, 1_000_001), Ok(vec![]));
    let mut block = Block::poll(file, POLLOUT);
    checks.equal("a request", context.start(&mut block), Ok(1));
    // SAFETY: a bad address is what is tried.
    let bad = result(unsafe { syscall(SYS_io_getevents, context.0, 1_i64, 1_i64, BAD, 0_i64) });
    checks.equal("no place for the events", bad, Err(EFAULT));
    checks.equal("they stay", time(i64::MAX, 0), Ok(vec![block.event(POLLOUT.into())]));
    checks.equal("another", context.start(&mut block), Ok(1));
    checks.equal("a time below 0 is none to look at", time(-5, 0), Ok(vec![block.event(POLLOUT.into())]));

    let with_mask = |mask: u64| {
        // SAFETY: bad addresses are what is tried.
        result(unsafe { syscall(SYS_IO_PGETEVENTS, context.0, 0_i64, 0_i64, 0_i64, 0_i64, mask) })
    };
    let (set, wrong): (u64, [u64; 2]) = (0, [BAD, 8]);
    let (right, short) = ([&raw const set as u64, 8], [&raw const set as u64, 4]);
    checks.equal("no mask", (with_mask(0), with_mask([0_u64, 5].as_ptr() as u64)), (Ok(0), Ok(0)));
    checks.equal("a mask", with_mask(right.as_ptr() as u64), Ok(0));
    checks.equal("no mask there", (with_mask(BAD), with_mask(wrong.as_ptr() as u64)), (Err(EFAULT), Err(EFAULT)));
    checks.equal("half a mask", with_mask(short.as_ptr() as u64), Err(EINVAL));
    // SAFETY: takes no address.
    unsafe { close(file) };
}
