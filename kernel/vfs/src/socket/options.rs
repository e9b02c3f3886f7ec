//! What `setsockopt(2)` changes of a socket.

use super::Socket;
use base::Errno;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};
use machine::time;

/// The size of a new socket's buffers (Linux's `wmem_default`).
const DEFAULT_BUFFER: u32 = 212_992;
/// The most that may be asked for without privilege (`wmem_max`).
const LARGEST_BUFFER: u32 = 212_992;
/// The least that a sender has.
const SMALLEST_SEND: u32 = 4608;
/// The least that a receiver has.
const SMALLEST_RECEIVE: u32 = 2304;
/// A wait without end.
const FOREVER: u64 = u64::MAX;

/// Options of a socket that are numbers, kept as they were given. But for the last they mean nothing to local sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// `SO_REUSEADDR`.
    ReuseAddress,
    /// `SO_REUSEPORT`.
    ReusePort,
    /// `SO_DONTROUTE`.
    DontRoute,
    /// `SO_BROADCAST`.
    Broadcast,
    /// `SO_KEEPALIVE`.
    KeepAlive,
    /// `SO_OOBINLINE`.
    OutOfBandInline,
    /// `SO_PRIORITY`.
    Priority,
    /// `SO_LINGER`: the seconds, or -1 for off.
    Linger,
    /// `SO_RCVLOWAT`: how many bytes of a stream a receive waits for.
    LeastReceived,
}

const KEPT: usize = Kept::LeastReceived as usize + 1;

/// The options of a socket. Locks: none.
pub(super) struct Options {
    /// How many bytes it may have waiting at its peer (`SO_SNDBUF`).
    send_buffer: AtomicU32,
    /// `SO_RCVBUF`, which means nothing for local sockets: what waits is the sender's.
    receive_buffer: AtomicU32,
    /// Nanoseconds.
    send_timeout: AtomicU64,
    receive_timeout: AtomicU64,
    /// Where the next peek begins, or -1: peeks begin at the front (`SO_PEEK_OFF`).
    peek_offset: AtomicI32,
    pub passes_credentials: AtomicBool,
    kept: [AtomicI32; KEPT],
}

impl Default for Options {
    fn default() -> Self {
        let kept = [const { AtomicI32::new(0) }; KEPT];
        kept[Kept::Linger as usize].store(-1, Relaxed);
        kept[Kept::LeastReceived as usize].store(1, Relaxed);
        Self {
            send_buffer: AtomicU32::new(DEFAULT_BUFFER),
            receive_buffer: AtomicU32::new(DEFAULT_BUFFER),
            send_timeout: AtomicU64::new(FOREVER),
            receive_timeout: AtomicU64::new(FOREVER),
            peek_offset: AtomicI32::new(-1),
            passes_credentials: AtomicBool::new(false),
            kept,
        }
    }
}

fn deadline(timeout: &AtomicU64) -> Option<u64> {
    let timeout = timeout.load(Relaxed);
    (timeout != FOREVER).then(|| time::now().saturating_add(timeout))
}

impl Options {
    pub fn capacity(&self) -> usize {
        self.send_buffer.load(Relaxed) as usize
    }

    /// How many bytes a receive of up to `most` waits for.
    pub fn least(&self, most: usize) -> usize {
        let least = self.kept[Kept::LeastReceived as usize].load(Relaxed);
        usize::try_from(least).unwrap_or(usize::MAX).clamp(1, most.max(1))
    }

    /// When a send that begins now gives up.
    pub fn send_deadline(&self) -> Option<u64> {
        deadline(&self.send_timeout)
    }

    /// When a receive that begins now gives up.
    pub fn receive_deadline(&self) -> Option<u64> {
        deadline(&self.receive_timeout)
    }

    /// Where a peek begins.
    pub fn peek_start(&self) -> usize {
        usize::try_from(self.peek_offset.load(Relaxed)).unwrap_or(0)
    }

    /// So many bytes were looked at.
    pub fn peeked(&self, count: usize) {
        let step = i32::try_from(count).unwrap_or(i32::MAX);
        let move_on = |offset: i32| (offset >= 0).then(|| offset.saturating_add(step));
        // Without an offset nothing moves.
        let _ = self.peek_offset.fetch_update(Relaxed, Relaxed, move_on);
    }

    /// So many bytes were taken from the front.
    pub fn taken(&self, count: usize) {
        let step = i32::try_from(count).unwrap_or(i32::MAX);
        let move_back = |offset: i32| (offset > 0).then(|| offset.saturating_sub(step).max(0));
        // Without an offset nothing moves.
        let _ = self.peek_offset.fetch_update(Relaxed, Relaxed, move_back);
    }
}

/// Nanoseconds that an operation waits; `None` is without end.
pub type Timeout = Option<u64>;

impl Socket {
    fn options(&self) -> &Options {
        &self.core.options
    }

    /// `SO_SNDBUF`, twice what was asked for, as Linux counts.
    pub fn send_buffer(&self) -> u32 {
        self.options().send_buffer.load(Relaxed)
    }

    /// Sets `SO_SNDBUF`, up to a limit unless `forced`. Who waits for room looks again.
    pub fn set_send_buffer(&self, bytes: u32, forced: bool) {
        let size = buffer(bytes, forced).max(SMALLEST_SEND);
        self.options().send_buffer.store(size, Relaxed);
        if let Some(connection) = self.core.connection() {
            connection.inbox.writable.wake_all();
        }
    }

    /// `SO_RCVBUF`.
    pub fn receive_buffer(&self) -> u32 {
        self.options().receive_buffer.load(Relaxed)
    }

    /// Sets `SO_RCVBUF`.
    pub fn set_receive_buffer(&self, bytes: u32, forced: bool) {
        self.options().receive_buffer.store(buffer(bytes, forced).max(SMALLEST_RECEIVE), Relaxed);
    }

    /// `SO_SNDTIMEO`.
    pub fn send_timeout(&self) -> Timeout {
        Some(self.options().send_timeout.load(Relaxed)).filter(|&timeout| timeout != FOREVER)
    }

    /// Sets `SO_SNDTIMEO`, for calls that begin later.
    pub fn set_send_timeout(&self, timeout: Timeout) {
        self.options().send_timeout.store(timeout.unwrap_or(FOREVER), Relaxed);
    }

    /// `SO_RCVTIMEO`.
    pub fn receive_timeout(&self) -> Timeout {
        Some(self.options().receive_timeout.load(Relaxed)).filter(|&timeout| timeout != FOREVER)
    }

    /// Sets `SO_RCVTIMEO`, for calls that begin later.
    pub fn set_receive_timeout(&self, timeout: Timeout) {
        self.options().receive_timeout.store(timeout.unwrap_or(FOREVER), Relaxed);
    }

    /// `SO_PEEK_OFF`.
    pub fn peek_offset(&self) -> i32 {
        self.options().peek_offset.load(Relaxed)
    }

    /// Sets `SO_PEEK_OFF`; -1 is off.
    pub fn set_peek_offset(&self, offset: i32) {
        self.options().peek_offset.store(offset, Relaxed);
    }

    /// `SO_PASSCRED`.
    pub fn passes_credentials(&self) -> bool {
        self.options().passes_credentials.load(Relaxed)
    }

    /// Sets `SO_PASSCRED`: messages sent from now on say who sent them.
    pub fn set_passes_credentials(&self, on: bool) {
        self.options().passes_credentials.store(on, Relaxed);
        self.core.inbox.asks_sender.store(on, Relaxed);
    }

    /// An option that is only kept.
    pub fn kept(&self, which: Kept) -> i32 {
        self.options().kept[which as usize].load(Relaxed)
    }

    /// Keeps an option.
    pub fn keep(&self, which: Kept, value: i32) {
        self.options().kept[which as usize].store(value, Relaxed);
    }

    /// `SO_ERROR`: what went wrong since it was last asked.
    pub fn take_error(&self) -> Option<Errno> {
        self.core.inbox.take_reset().then_some(Errno::ECONNRESET)
    }
}

/// What a wish for a buffer comes to: it is doubled, to pay for what Linux keeps beside the bytes.
fn buffer(bytes: u32, forced: bool) -> u32 {
    let most = if forced { i32::MAX as u32 / 2 } else { LARGEST_BUFFER };
    bytes.min(most) * 2
}
