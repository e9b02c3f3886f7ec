//! The file system types and device drivers of this crate, put together once at boot.

use crate::{
    dev::{DevType, ExitDriver, MEMORY_MAJOR, MISC_MAJOR, MemoryDevices},
    mqueue::MqueueType,
    terminal::{
        AlternativeTerminals, Console, DevPtsType, PseudoTerminals, PtsDriver, SerialTerminals,
        console::{PORTS, SERIAL_MAJOR, SERIAL_MINOR},
    },
    tmpfs::TmpfsType,
};
use alloc::sync::Arc;
use base::Errno;
use vfs::{DeviceNumber, FileKind, Registry};

/// Adds `tmpfs`, `mqueue`, `devtmpfs` and `devpts`, and the drivers of memory devices and terminals. `exit_device` says whether
/// there is a `/dev/qemu-exit`: on a machine under QEMU.
pub fn add_devices(registry: &mut Registry, console: &Arc<Console>, exit_device: bool) -> Result<(), Errno> {
    let pseudo = PseudoTerminals::new();
    let serial = console.clone();
    let exists = move |number: DeviceNumber| match number.major {
        MISC_MAJOR => exit_device,
        SERIAL_MAJOR => {
            (0..PORTS).any(|port| number.minor == SERIAL_MINOR + u32::from(port) && serial.terminal(port).is_some())
        }
        _ => true,
    };
    registry.add_type(Arc::new(TmpfsType));
    registry.add_type(Arc::new(MqueueType));
    registry.add_type(Arc::new(DevType::new(exists)?));
    registry.add_type(Arc::new(DevPtsType(pseudo.clone())));
    let mut driver = |major, driver| registry.add_driver(FileKind::CharDevice, major, driver);
    driver(MEMORY_MAJOR, Arc::new(MemoryDevices::new()));
    driver(SERIAL_MAJOR, Arc::new(SerialTerminals(console.clone())));
    let alternative = AlternativeTerminals { console: console.clone(), pseudo: pseudo.clone() };
    driver(crate::terminal::ALTERNATIVE_MAJOR, Arc::new(alternative));
    driver(crate::terminal::PTS_MAJOR, Arc::new(PtsDriver));
    if exit_device {
        driver(MISC_MAJOR, Arc::new(ExitDriver));
    }
    Ok(())
}
