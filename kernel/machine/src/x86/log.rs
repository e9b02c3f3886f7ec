//! Where lines of the kernel log go.
//!
//! `log=ttyS0`, `log=ttyS1` or `log=both` on the command line chooses; without it the log goes to COM1. Until the
//! command line is read nothing is logged but a panic, which goes to both ports. `console_mark=WORD` makes the kernel
//! write that word to COM1 before anything else, for tools that must tell its words from the firmware's.
//!
//! A line is written in one piece: two CPUs never mix theirs.

use super::{boot, console, interrupts, panic};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};
use spin::Mutex;

/// Bit *n*: port *n* shows the log.
static TARGETS: AtomicU8 = AtomicU8::new(3);
static LINE: Mutex<()> = Mutex::new(());

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

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let targets = TARGETS.load(Ordering::Relaxed);
        let put = if self.panicking { console::write_in_panic } else { console::write };
        for port in (0..2).filter(|port| targets & 1 << port != 0) {
            if port == 0 {
                // a terminal in raw mode needs the carriage back
                for part in text.split_inclusive('\n') {
                    match part.strip_suffix('\n') {
                        Some(line) => {
                            put(port, line.as_bytes());
                            put(port, b"\r\n");
                        }
                        None => put(port, part.as_bytes()),
                    }
                }
            } else {
                put(port, text.as_bytes());
            }
        }
        Ok(())
    }
}

/// Writes a line that has its newline already.
pub fn write(line: fmt::Arguments<'_>) {
    // Another CPU panics: it owns the ports now, and this one is about to be stopped.
    panic::halt_if_stopping();
    let _off = interrupts::off();
    let _line = LINE.lock();
    // The output can't fail, and a value that fails to format itself is no reason to stop here.
    let _ = Output { panicking: false }.write_fmt(line);
}
