//! Which devices a task may open and make files for, asked of whoever decides that.

use crate::DeviceNumber;
use base::{
    Errno,
    device::{Device, DeviceAccess, DeviceKind},
};
use machine::sync::Hook;

/// Decides about devices.
pub trait DeviceGuard: Sync {
    /// Whether the running task may do this with the device. Any errno is that of the call.
    fn check(&self, device: &Device, access: DeviceAccess) -> Result<(), Errno>;
}

/// Installed once at boot, if anybody wants to be asked.
pub static DEVICE_GUARD: Hook<dyn DeviceGuard> = Hook::new();

/// Asks the guard about a device.
pub(crate) fn check(kind: DeviceKind, number: DeviceNumber, access: DeviceAccess) -> Result<(), Errno> {
    match DEVICE_GUARD.get() {
        Some(guard) => guard.check(&Device { kind, major: number.major, minor: number.minor }, access),
        None => Ok(()),
    }
}
