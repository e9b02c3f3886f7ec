//! What becomes of a system call that a signal interrupted: started again, or ended with `EINTR`.
//!
//! Blocking calls end with `EINTR` in the kernel; what the program sees depends on the call and on the handler. The
//! classes are those of `signal(7)`, "Interruption of system calls".

use crate::filters::listener;
use linux_raw_sys::general as number;

/// How a call takes an interruption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// `EINTR`, handler or not.
    Never,
    /// Started again if no handler ran, as after stop and continue; else `EINTR`.
    WithoutHandler,
    /// Started again if no handler ran or it has `SA_RESTART`; else `EINTR`.
    ByHandler,
    /// Started again, whatever handler ran.
    Always,
}

/// The class of a system call. For `futex`, `second` is its operation and `fourth` its timeout; for `ioctl`, its request.
pub fn class(call: u64, second: u64, fourth: u64) -> Restart {
    let Ok(call) = u32::try_from(call) else { return Restart::Never };
    match call {
        number::__NR_pause
        | number::__NR_rt_sigsuspend
        | number::__NR_poll
        | number::__NR_ppoll
        | number::__NR_select
        | number::__NR_pselect6
        | number::__NR_nanosleep
        | number::__NR_clock_nanosleep
        | number::__NR_msgrcv
        | number::__NR_msgsnd
        | number::__NR_io_pgetevents => Restart::WithoutHandler,
        number::__NR_epoll_wait
        | number::__NR_epoll_pwait
        | number::__NR_epoll_pwait2
        | number::__NR_rt_sigtimedwait
        | number::__NR_semop
        | number::__NR_semtimedop
        | number::__NR_io_getevents
        | number::__NR_restart_syscall
        | number::__NR_close => Restart::Never,
        number::__NR_ioctl if second as u32 == listener::RECEIVE => Restart::Never,
        number::__NR_futex if fourth != 0 && is_futex_wait(second) => Restart::WithoutHandler,
        number::__NR_futex if is_futex_lock(second) => Restart::Always,
        _ => Restart::ByHandler,
    }
}

/// Whether a futex operation sleeps, so that its fourth argument is a timeout.
fn is_futex_wait(operation: u64) -> bool {
    let command = operation as u32 & !(number::FUTEX_PRIVATE_FLAG | number::FUTEX_CLOCK_REALTIME);
    matches!(command, number::FUTEX_WAIT | number::FUTEX_WAIT_BITSET)
}

/// Whether a futex operation waits for a lock that lends priority.
fn is_futex_lock(operation: u64) -> bool {
    let command = operation as u32 & !(number::FUTEX_PRIVATE_FLAG | number::FUTEX_CLOCK_REALTIME);
    matches!(command, number::FUTEX_LOCK_PI | number::FUTEX_LOCK_PI2 | number::FUTEX_WAIT_REQUEUE_PI)
}

impl Restart {
    /// Whether the call is started again, given the handler that runs first: none, or whether it has `SA_RESTART`.
    pub const fn again(self, handler: Option<bool>) -> bool {
        match (self, handler) {
            (Self::Never, _) => false,
            (Self::Always, _) => true,
            (_, None) => true,
            (Self::WithoutHandler, Some(_)) => false,
            (Self::ByHandler, Some(restarts)) => restarts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_rule() {
        let read = class(number::__NR_read.into(), 0, 0);
        assert_eq!([read.again(None), read.again(Some(true)), read.again(Some(false))], [true, true, false]);
        let pause = class(number::__NR_pause.into(), 0, 0);
        assert_eq!([pause.again(None), pause.again(Some(true))], [true, false]);
        let epoll = class(number::__NR_epoll_wait.into(), 0, 0);
        assert_eq!([epoll.again(None), epoll.again(Some(true))], [false, false]);
    }

    #[test]
    fn a_wait_for_a_lock_is_always_started_again() {
        let lock = class(number::__NR_futex.into(), number::FUTEX_LOCK_PI.into(), 0x1000);
        assert_eq!([lock.again(None), lock.again(Some(false))], [true, true]);
    }

    #[test]
    fn a_futex_wait_with_a_timeout_is_not_started_again_by_a_handler() {
        let private_wait = u64::from(number::FUTEX_PRIVATE_FLAG);
        assert_eq!(class(number::__NR_futex.into(), private_wait, 0x1000), Restart::WithoutHandler);
        assert_eq!(class(number::__NR_futex.into(), private_wait, 0), Restart::ByHandler);
    }
}
