//! What comes with a signal: `siginfo_t`, as a value and as the 128 bytes that a program sees.

use super::Signal;
use base::{Pid, Uid};

/// The size of `siginfo_t`.
pub const SIZE: usize = 128;

/// `si_code` values.
pub mod code {
    #![allow(missing_docs)]
    pub const USER: i32 = 0;
    pub const KERNEL: i32 = 0x80;
    pub const QUEUE: i32 = -1;
    pub const TIMER: i32 = -2;
    pub const MESSAGE_QUEUE: i32 = -3;
    pub const POLL: i32 = -5;
    pub const TKILL: i32 = -6;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_TRAPPED: i32 = 4;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const ILL_ILLOPN: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_FLTDIV: i32 = 3;
    pub const FPE_FLTOVF: i32 = 4;
    pub const FPE_FLTUND: i32 = 5;
    pub const FPE_FLTRES: i32 = 6;
    pub const FPE_FLTINV: i32 = 7;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const TRAP_HWBKPT: i32 = 4;
    pub const SYS_SECCOMP: i32 = 1;
}

/// Where a signal came from and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignalInfo {
    /// The signal.
    pub signal: Signal,
    /// `si_code`.
    pub code: i32,
    /// What else is in it; the layout depends on the kind.
    pub detail: Detail,
}

/// The part of a [`SignalInfo`] that differs by kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Nothing: sent by the kernel.
    None,
    /// `kill(2)` and its like: who sent it.
    Sender {
        /// The sender's process.
        process: Pid,
        /// The sender's real user.
        user: Uid,
    },
    /// An expired POSIX timer.
    Timer {
        /// The timer's number.
        id: i32,
        /// How many expiries were merged into this one.
        overrun: i32,
        /// `sigev_value`.
        value: u64,
    },
    /// A child's change of state.
    Child {
        /// The child.
        process: Pid,
        /// Its real user.
        user: Uid,
        /// Exit status or signal number.
        status: i32,
        /// Its user time in clock ticks.
        user_ticks: i64,
        /// Its system time in clock ticks.
        system_ticks: i64,
    },
    /// A fault: the address that caused it.
    Fault {
        /// `si_addr`.
        address: u64,
    },
    /// A system call that a filter forbids.
    Call {
        /// `si_call_addr`: the instruction behind it.
        address: u64,
        /// `si_syscall`.
        number: i32,
        /// `si_arch`.
        architecture: u32,
        /// `si_errno`: what the filter gave along.
        error: i32,
    },
    /// What has happened to an open file.
    File {
        /// `si_band`.
        band: u64,
        /// `si_fd`.
        descriptor: i32,
    },
    /// Given by a program through `rt_sigqueueinfo(2)`: the bytes behind the first 16.
    Raw(alloc::boxed::Box<[u8; SIZE - 16]>),
}

impl SignalInfo {
    /// A signal of the kernel's own, without further facts.
    pub const fn kernel(signal: Signal) -> Self {
        Self { signal, code: code::KERNEL, detail: Detail::None }
    }

    /// A signal of which only the number is known: there was no room for the rest. Looks as if nobody had sent it.
    pub const fn bare(signal: Signal) -> Self {
        let detail = Detail::Sender { process: Pid::new(0), user: Uid::ROOT };
        Self { signal, code: code::USER, detail }
    }

    /// A fault of the running task at `address`.
    pub const fn fault(signal: Signal, code: i32, address: u64) -> Self {
        Self { signal, code, detail: Detail::Fault { address } }
    }

    /// The value that a program gave as `siginfo_t` bytes, for `signal`.
    pub fn from_bytes(signal: Signal, bytes: &[u8; SIZE]) -> Self {
        let mut rest = [0; SIZE - 16];
        rest.copy_from_slice(&bytes[16..]);
        let code = i32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        Self { signal, code, detail: Detail::Raw(alloc::boxed::Box::new(rest)) }
    }

    /// The `siginfo_t` that a program sees.
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &i32::from(self.signal.number()).to_le_bytes());
        put(8, &self.code.to_le_bytes());
        match &self.detail {
            Detail::None => {}
            Detail::Sender { process, user } => {
                put(16, &process.raw().to_le_bytes());
                put(20, &user.raw().to_le_bytes());
            }
            Detail::Timer { id, overrun, value } => {
                put(16, &id.to_le_bytes());
                put(20, &overrun.to_le_bytes());
                put(24, &value.to_le_bytes());
            }
            Detail::Child { process, user, status, user_ticks, system_ticks } => {
                put(16, &process.raw().to_le_bytes());
                put(20, &user.raw().to_le_bytes());
                put(24, &status.to_le_bytes());
                put(32, &user_ticks.to_le_bytes());
                put(40, &system_ticks.to_le_bytes());
            }
            Detail::Fault { address } => put(16, &address.to_le_bytes()),
            Detail::File { band, descriptor } => {
                put(16, &band.to_le_bytes());
                put(24, &descriptor.to_le_bytes());
            }
            Detail::Call { address, number, architecture, error } => {
                put(4, &error.to_le_bytes());
                put(16, &address.to_le_bytes());
                put(24, &number.to_le_bytes());
                put(28, &architecture.to_le_bytes());
            }
            Detail::Raw(rest) => put(16, &rest[..]),
        }
        bytes
    }

    /// Whether the kernel made it, so that limits of queued signals and permission don't matter.
    pub const fn is_from_kernel(&self) -> bool {
        self.code > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_lies_where_linux_puts_it() {
        let info = SignalInfo {
            signal: Signal::USR1,
            code: code::USER,
            detail: Detail::Sender { process: Pid::new(77), user: Uid::new(1000) },
        };
        let bytes = info.to_bytes();
        assert_eq!(bytes[0..4], 10i32.to_le_bytes());
        assert_eq!(bytes[8..12], 0i32.to_le_bytes());
        assert_eq!(bytes[16..20], 77i32.to_le_bytes());
        assert_eq!(bytes[20..24], 1000u32.to_le_bytes());
    }

    #[test]
    fn bytes_given_by_a_program_come_back_unchanged() {
        let mut bytes = [0u8; SIZE];
        for (index, byte) in bytes.iter_mut().enumerate().skip(16) {
            *byte = index as u8;
        }
        bytes[0] = 34;
        bytes[8..12].copy_from_slice(&code::QUEUE.to_le_bytes());
        assert_eq!(SignalInfo::from_bytes(Signal::new(34).unwrap(), &bytes).to_bytes(), bytes);
    }
}
