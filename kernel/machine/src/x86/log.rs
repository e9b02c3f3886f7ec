//! Where lines of the kernel log go.
//!
//! `log=ttyS0`, `log=ttyS1` or `log=both` on the command line chooses; without it the log goes to COM1. Until the
//! command line is read nothing is logged but a panic, which goes to both ports. `console_mark=WORD` makes the kernel
//! write that word to COM1 before anything else, for tools that must tell its words from the firmware's.
//!
//! A line is written in one piece: two CPUs never mix theirs.

use super::interrupts::{self, vector};
use super::{boot, console, cpu, local_apic, panic};
use crate::log::Ring;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};
use spin::Mutex;

/// Bit *n*: port *n* shows the log.
static TARGETS: AtomicU8 = AtomicU8::new(3);
static LINE: Mutex<()> = Mutex::new(());
/// What is kept. A lock without a rank, as `LINE`: the log works before CPUs have what ranks are checked with.
static RING: Mutex<Ring> = Mutex::new(Ring::new());

/// Does what the command line says of the ports.
pub(super) fn choose() {
    if let Some(mark) = boot::word("console_mark") {
        console::write(0, mark.as_bytes());
    }
    let targets = match boot::word("log") {
        Some("ttyS1") => 2,
        Some("both") => 3,
        _ => 1,
    };
    let present = (0..2).filter(|&port| console::has_port(port)).fold(0, |all, port| all | 1 << port);
    TARGETS.store(if targets & present != 0 { targets & present } else { 1 }, Ordering::Relaxed);
}

/// The chosen ports as one.
pub(super) struct Output {
    panicking: bool,
}

impl Output {
    /// For one who panics: takes no locks that others may hold for ever.
    pub(super) fn in_panic() -> Self {
        Self { panicking: true }
    }
}

impl Output {
    fn put(&mut self, bytes: &[u8]) {
        let targets = TARGETS.load(Ordering::Relaxed);
        let put = if self.panicking { console::write_in_panic } else { console::write };
        for port in (0..2).filter(|port| targets & 1 << port != 0) {
            if port == 0 {
                // a terminal in raw mode needs the carriage back
                for part in bytes.split_inclusive(|&byte| byte == b'\n') {
                    match part.strip_suffix(b"\n") {
                        Some(line) => {
                            put(port, line);
                            put(port, b"\r\n");
                        }
                        None => put(port, part),
                    }
                }
            } else {
                put(port, bytes);
            }
        }
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// Shows a line, which has no newline, behind `stamp`.
pub fn show(stamp: fmt::Arguments<'_>, line: &[u8]) {
    // Another CPU panics: it owns the ports now, and this one is about to be stopped.
    panic::halt_if_stopping();
    let _off = interrupts::off();
    let _line = LINE.lock();
    let mut output = Output { panicking: false };
    // The output can't fail.
    let _ = output.write_fmt(stamp);
    output.put(line);
    output.put(b"\n");
}

/// Looks at or adds to what is kept. `f` must not log.
pub fn with_ring<R>(f: impl FnOnce(&mut Ring) -> R) -> R {
    let _off = interrupts::off();
    f(&mut RING.lock())
}

/// Has this CPU's handler of a grown log called as soon as interrupts are on; nothing before the CPU was started.
pub fn tell_readers() {
    let off = interrupts::off();
    if crate::interrupts::HANDLERS.get().is_some() {
        let here = cpu::current();
        if cpu::started().contains(here)
            && let Some(local) = cpu::local(here)
        {
            local_apic::send(&off, local.apic_id.get(), vector::LOG);
        }
    }
}
