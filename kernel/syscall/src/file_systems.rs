//! Which file systems there are: `ustat(2)` and `sysfs(2)`.

use crate::{
    abi::OldStatistics,
    arguments::{Argument, UserPtr},
    call::Call,
};
use base::Errno;
use vfs::DeviceNumber;

/// `ustat(2)`. `EINVAL` nothing that is mounted has this device.
pub fn ustat(call: &Call<'_>, device: u32, out: UserPtr<OldStatistics>) -> Result<usize, Errno> {
    let device = DeviceNumber::decoded(device);
    let context = call.task.context()?;
    let mount = context.namespace().find_mount(device).ok_or(Errno::EINVAL)?;
    let statistics = mount.statistics();
    // Counts are cut to what the structure holds, as on Linux.
    let free = statistics.free_blocks as i32;
    out.write(&OldStatistics { free, hole: 0, inodes: statistics.free_inodes, names: [0; 12], tail: 0 })?;
    Ok(0)
}

/// `sysfs(2)`: the index of a type's name (1), the name of an index (2), how many there are (3). `EINVAL` another request, no
/// such name or index.
pub fn sysfs(call: &Call<'_>, option: i32, first: u64, name: UserPtr<u8>) -> Result<usize, Errno> {
    let context = call.task.context()?;
    let registry = context.namespace().registry();
    match option {
        1 => {
            let wanted = call.path(UserPtr::from_register(first))?;
            registry.type_names().position(|name| name.as_bytes() == &*wanted).ok_or(Errno::EINVAL)
        }
        2 => {
            let found = registry.type_names().nth(first as u32 as usize).ok_or(Errno::EINVAL)?;
            let mut bytes = found.as_bytes().to_vec();
            bytes.push(0);
            machine::user_memory::write(name.address(), &bytes)?;
            Ok(0)
        }
        3 => Ok(registry.type_names().count()),
        _ => Err(Errno::EINVAL),
    }
}
