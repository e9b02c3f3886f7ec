//! The kernel log: one line each, with the time since boot, on the log port (standard error on the host).

use core::fmt;

/// Writes one line to the kernel log: subsystem first, values in it, no newline.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::line(::core::format_args!($($argument)*)) };
}

/// Writes one line to the kernel log; [`crate::log!`] is the short way to it.
pub fn line(text: fmt::Arguments<'_>) {
    let now = crate::time::now();
    crate::arch::log::write(format_args!("[{:5}.{:06}] {text}\n", now / 1_000_000_000, now / 1_000 % 1_000_000));
}
