//! Calls that wait for an answer while signals come, and while either side ends.

use super::{
    filter::*,
    supervised::{Listener, code, supervised},
};
use crate::{
    checks::Checks,
    tracing::tracee::{ended, fork, kill_and_reap, patiently, wait},
};
use libc::*;
use std::{
    ptr::null_mut,
    sync::atomic::{AtomicI32, Ordering::SeqCst},
};

static HANDLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn handle(_signal: c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

/// Handles a signal, with these flags.
fn catch(signal: c_int, flags: c_int) {
    // SAFETY: the handler has the form of one without SA_SIGINFO.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = flags;
        sigaction(signal, &raw const action, null_mut());
    }
}

/// A child that catches SIGUSR1 and ends with the result of the call.
fn catching(flags: c_uint, restarts: bool) -> (c_int, Listener) {
    supervised(flags, move || {
        catch(SIGUSR1, if restarts { SA_RESTART } else { 0 });
        // The handler runs before the call returns.
        let code = code();
        if HANDLED.load(SeqCst) > 0 { code + 100 } else { code }
    })
}

fn send(pid: c_int, signal: c_int) {
    // SAFETY: takes no address.
    unsafe { kill(pid, signal) };
}

pub fn run(checks: &mut Checks) {
    signals(checks);
    firm(checks);
    supervisors(checks);
    receivers(checks);
}

fn signals(checks: &mut Checks) {
    let (child, listener) = catching(0, false);
    let id = listener.receive().unwrap_or_default().id;
    send(child, SIGUSR1);
    checks.equal("a signal ends the call", wait(child, 0), ended(EINTR + 100));
    checks.equal("its answer comes too late", listener.send(id, 1, 0, 0), Err(ENOENT));
    checks.equal("it is gone", listener.is_valid(id), Err(ENOENT));
    listener.close();
    let (child, listener) = catching(0, true);
    let first = listener.receive().unwrap_or_default();
    send(child, SIGUSR1);
    let second = listener.receive().unwrap_or_default();
    checks.equal("or has it made again", (second.pid, second.id != first.id), (child, true));
    checks.equal("the first is gone", listener.send(first.id, 1, 0, 0), Err(ENOENT));
    checks.equal("the second is answered", listener.send(second.id, 9, 0, 0), Ok(0));
    checks.equal("it has that", wait(child, 0), ended(109));
    listener.close();
    let (child, listener) = supervised(0, code);
    let first = listener.receive().unwrap_or_default();
    send(child, SIGSTOP);
    let is_stopped = || shown(child, "State:").is_some_and(|state| state.starts_with('T'));
    checks.equal("it stops", patiently(is_stopped), true);
    send(child, SIGCONT);
    let second = listener.receive().unwrap_or_default();
    checks.equal("and makes it again", (second.pid, second.id != first.id), (child, true));
    checks.equal("killed", kill_and_reap(child), Ok(SIGKILL));
    checks.equal("it is gone", listener.is_valid(second.id), Err(ENOENT));
    checks.equal("nobody is left", listener.poll(-1), POLLHUP);
    listener.close();
}

/// What was received is disturbed by nothing but the end, if the filter was made so.
fn firm(checks: &mut Checks) {
    let (child, listener) = catching(WAIT_KILLABLE, false);
    let id = listener.receive().unwrap_or_default().id;
    send(child, SIGUSR1);
    let waits = || shown(child, "ShdPnd:").is_some_and(|pending| pending.ends_with("200"));
    checks.equal("a signal waits", patiently(waits), true);
    checks.equal("the call too", listener.is_valid(id), Ok(0));
    checks.equal("it is answered", listener.send(id, 8, 0, 0), Ok(0));
    checks.equal("then the signal comes", wait(child, 0), ended(108));
    listener.close();
    let (child, listener) = catching(WAIT_KILLABLE, false);
    checks.equal("what was not received", listener.poll(-1), POLLIN);
    send(child, SIGUSR1);
    checks.equal("is disturbed", wait(child, 0), ended(EINTR + 100));
    listener.close();
    let (child, listener) = catching(WAIT_KILLABLE, false);
    let id = listener.receive().unwrap_or_default().id;
    checks.equal("an end ends it", kill_and_reap(child), Ok(SIGKILL));
    checks.equal("nobody waits", listener.send(id, 8, 0, 0), Err(ENOENT));
    listener.close();
}

fn supervisors(checks: &mut Checks) {
    let twice = || {
        let first = code();
        if first == code() { first } else { 0 }
    };
    let (child, listener) = supervised(0, twice);
    checks.equal("a call waits", listener.poll(-1), POLLIN);
    listener.close();
    checks.equal("who listened is gone", wait(child, 0), ended(ENOSYS));
    // Another process listens, and dies with a call in its hands.
    let (child, listener) = supervised(0, twice);
    let mut told = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(told.as_mut_ptr()) };
    let supervisor = fork(|| {
        let received = listener.receive().is_ok();
        // SAFETY: the byte is there.
        unsafe { write(told[1], c"x".as_ptr().cast(), usize::from(received)) };
        loop {
            // SAFETY: takes no address.
            unsafe { pause() };
        }
    });
    listener.close();
    let mut byte = 0_u8;
    // SAFETY: room for one byte.
    unsafe { (read(told[0], (&raw mut byte).cast(), 1), close(told[0]), close(told[1])) };
    checks.equal("it is killed", kill_and_reap(supervisor), Ok(SIGKILL));
    checks.equal("the call fails", wait(child, 0), ended(ENOSYS));
}

/// A receiver that a signal disturbs gets nothing, whatever the handler's flags are.
fn receivers(checks: &mut Checks) {
    let (child, listener) = supervised(0, || {
        loop {
            // SAFETY: takes no address.
            unsafe { pause() };
        }
    });
    let receiver = fork(|| {
        catch(SIGALRM, SA_RESTART);
        let often = timeval { tv_sec: 0, tv_usec: 100_000 };
        let timer = itimerval { it_interval: often, it_value: often };
        // SAFETY: the times are there.
        unsafe { setitimer(ITIMER_REAL, &raw const timer, null_mut()) };
        c_int::from(listener.receive() != Err(EINTR))
    });
    checks.equal("a disturbed receiver", wait(receiver, 0), ended(0));
    // One that waits when the last user goes is told.
    let receiver = fork(|| c_int::from(listener.receive() != Err(ENOENT)));
    let sleeps = || shown(receiver, "State:").is_some_and(|state| state.starts_with('S'));
    checks.equal("a receiver waits", patiently(sleeps), true);
    checks.equal("the last user goes", kill_and_reap(child), Ok(SIGKILL));
    checks.equal("it is told", wait(receiver, 0), ended(0));
    listener.close();
}
