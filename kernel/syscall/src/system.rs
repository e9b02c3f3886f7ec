//! Calls about the machine as a whole: its name, its state, its end, its randomness.

use crate::{
    abi::{SystemInfo, SystemName},
    arguments::UserPtr,
    call::Call,
};
use base::{Capabilities, Errno};
use machine::user_memory;
use process::{KERNEL_LOG, kernel_log::LogUse, persona::Persona};

/// `uname(2)`.
pub fn uname(call: &Call<'_>, out: UserPtr<SystemName>) -> Result<usize, Errno> {
    let field = |text: &[u8]| {
        let mut bytes = [0; 65];
        for (to, from) in bytes[..64].iter_mut().zip(text) {
            *to = *from;
        }
        bytes
    };
    let names = call.population().names();
    let persona = call.task.persona();
    let release = if persona.contains(Persona::UNAME26) { process::RELEASE_26 } else { process::RELEASE };
    out.write(&SystemName {
        system: field(process::SYSTEM.as_bytes()),
        node: field(&names.host()),
        release: field(release.as_bytes()),
        version: field(process::VERSION.as_bytes()),
        machine: field(persona.machine()),
        domain: field(&names.domain()),
    })?;
    Ok(0)
}

fn new_name(call: &Call<'_>, text: UserPtr<u8>, length: i32) -> Result<alloc::vec::Vec<u8>, Errno> {
    if !call.task.credentials().has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    if !(0..=64).contains(&length) {
        return Err(Errno::EINVAL);
    }
    text.read_array(length as usize)
}

/// `sethostname(2)`.
pub fn sethostname(call: &Call<'_>, text: UserPtr<u8>, length: i32) -> Result<usize, Errno> {
    call.population().names().set_host(new_name(call, text, length)?);
    Ok(0)
}

/// `setdomainname(2)`.
pub fn setdomainname(call: &Call<'_>, text: UserPtr<u8>, length: i32) -> Result<usize, Errno> {
    call.population().names().set_domain(new_name(call, text, length)?);
    Ok(0)
}

/// `vhangup(2)`.
pub fn vhangup(call: &Call<'_>) -> Result<usize, Errno> {
    process::terminal::hang_up_own(call.task)?;
    Ok(0)
}

/// `sysinfo(2)`.
pub fn sysinfo(call: &Call<'_>, out: UserPtr<SystemInfo>) -> Result<usize, Errno> {
    let memory = memory::frames::total();
    // The averages have 11 fraction bits here and 16 there.
    let loads = sched::load_averages().map(|load| load << 5);
    out.write(&SystemInfo {
        uptime: (machine::time::now() / 1_000_000_000) as i64,
        loads,
        total: memory.total * 4096,
        free: memory.free * 4096,
        shared: 0,
        buffers: 0,
        swap_total: 0,
        swap_free: 0,
        processes: u16::try_from(call.population().task_count()).unwrap_or(u16::MAX),
        hole: [0; 3],
        high_total: 0,
        high_free: 0,
        unit: 1,
        tail: 0,
    })?;
    Ok(0)
}

/// `getrandom(2)`. The source never runs dry, so the flags change nothing. A signal ends a long one early.
pub fn getrandom(_call: &Call<'_>, out: UserPtr<u8>, length: usize, flags: u32) -> Result<usize, Errno> {
    const NONBLOCK: u32 = 1;
    const RANDOM: u32 = 2;
    const INSECURE: u32 = 4;
    /// The most of one call.
    const MOST: usize = 33_554_431;
    /// After so many a signal is looked for.
    const PAGE: usize = 4096;
    if flags & !(NONBLOCK | RANDOM | INSECURE) != 0 || flags & (RANDOM | INSECURE) == RANDOM | INSECURE {
        return Err(Errno::EINVAL);
    }
    let length = length.min(MOST);
    let mut done = 0;
    while done < length {
        let mut bytes = [0; 256];
        let piece = (length - done).min(bytes.len());
        machine::random::fill(&mut bytes[..piece]);
        let copied = user_memory::write_partial(out.address().wrapping_add(done as u64), &bytes[..piece]);
        done += copied;
        if copied < piece || done.is_multiple_of(PAGE) && !sched::goes_on(true) {
            break;
        }
    }
    if done == 0 && length != 0 { Err(Errno::EFAULT) } else { Ok(done) }
}

/// `syslog(2)`. `EPERM` the caller may not; `EINVAL` no such action, no buffer, a negative length, a level other than 1
/// to 8; `EFAULT`; `EINTR`.
pub fn syslog(call: &Call<'_>, action: i32, buffer: UserPtr<u8>, length: i32) -> Result<usize, Errno> {
    const CLOSE: i32 = 0;
    const OPEN: i32 = 1;
    const READ: i32 = 2;
    const READ_ALL: i32 = 3;
    const READ_CLEAR: i32 = 4;
    const CLEAR: i32 = 5;
    const CONSOLE_OFF: i32 = 6;
    const CONSOLE_ON: i32 = 7;
    const CONSOLE_LEVEL: i32 = 8;
    const SIZE_UNREAD: i32 = 9;
    const SIZE_BUFFER: i32 = 10;
    let wanted = if matches!(action, READ_ALL | SIZE_BUFFER) { LogUse::Look } else { LogUse::Change };
    KERNEL_LOG.check(wanted, &call.task.credentials())?;
    match action {
        CLOSE | OPEN => {}
        READ | READ_ALL | READ_CLEAR => {
            let room = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
            if buffer.is_null() {
                return Err(Errno::EINVAL);
            }
            if room == 0 {
                return Ok(0);
            }
            crate::transfer::check_range(buffer.address(), room)?;
            let put = &mut |before: usize, text: &[u8]| user_memory::write(buffer.address() + before as u64, text);
            return match action {
                READ => KERNEL_LOG.consume(room, put),
                _ => KERNEL_LOG.read_all(room, action == READ_CLEAR, put),
            };
        }
        CLEAR => KERNEL_LOG.clear(),
        CONSOLE_OFF => KERNEL_LOG.console_off(),
        CONSOLE_ON => KERNEL_LOG.console_on(),
        CONSOLE_LEVEL => KERNEL_LOG.set_console_level(length)?,
        SIZE_UNREAD => return Ok(KERNEL_LOG.unread_bytes()),
        SIZE_BUFFER => return Ok(machine::log::CAPACITY),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `reboot(2)`. `EPERM` without CAP_SYS_BOOT, `EINVAL` bad magic numbers or an unknown command.
pub fn reboot(call: &Call<'_>, magic: u32, magic2: u32, command: u32) -> Result<usize, Errno> {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    const CTRL_ALT_DELETE_ON: u32 = 0x89ab_cdef;
    const CTRL_ALT_DELETE_OFF: u32 = 0;
    if !call.task.credentials().has(Capabilities::SYS_BOOT) {
        return Err(Errno::EPERM);
    }
    if magic != MAGIC || !MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    match command {
        RESTART => {
            machine::log_urgent!("reboot: Restarting system");
            machine::power::reset()
        }
        HALT => {
            machine::log_urgent!("reboot: System halted");
            machine::power::halt_all()
        }
        POWER_OFF => process::power_off(),
        // There is no keyboard to press them on.
        CTRL_ALT_DELETE_ON | CTRL_ALT_DELETE_OFF => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
