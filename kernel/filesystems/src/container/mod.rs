//! The file systems `container`, `cgroup` and `cpuset`: hierarchies of containers as directories.
//!
//! A mount makes a hierarchy or finds an equal one; `mkdir` makes a container; reading and writing its files shows and
//! changes everything. What happens is decided by the crate `container`; here are the directories (`directory`) and
//! files (`control`) that lead there. Rules: interfaces.md, sections 2 to 4.

mod control;
mod directory;
#[cfg(test)]
mod tests;
mod watch;

use alloc::{string::String, sync::Arc, vec, vec::Vec};
use base::{Credentials, Errno};
use container::{Dialect, Framework, Mounted};
use core::fmt;
use directory::Directory;
use machine::sync::{SpinLock, rank};
use vfs::{DeviceNumber, FileSystem, FileSystemType, Inode, MountRequest, StatFs, next_device};

pub use watch::removed;

/// `f_type` of `statfs`, of both dialects.
const MAGIC: u64 = 0x27_e0eb;

/// The three types, for the registry of file systems.
pub fn types(framework: &Arc<Framework>) -> Vec<Arc<dyn FileSystemType>> {
    let devices = Arc::new(Devices(SpinLock::new(rank::FILE_STATE, Vec::new())));
    let of = |name, dialect, fixed| {
        let (framework, devices) = (framework.clone(), devices.clone());
        Arc::new(ContainerType { framework, devices, name, dialect, fixed }) as Arc<dyn FileSystemType>
    };
    vec![
        of("container", Dialect::Container, None),
        of("cgroup", Dialect::Cgroup, None),
        of("cpuset", Dialect::Cgroup, Some("cpuset,noprefix,release_agent=/sbin/cpuset_release_agent")),
    ]
}

struct ContainerType {
    framework: Arc<Framework>,
    devices: Arc<Devices>,
    name: &'static str,
    dialect: Dialect,
    /// Options that always hold; then none can be given.
    fixed: Option<&'static str>,
}

/// The device number of each hierarchy, which all its mounts show. An entry for a hierarchy that is gone (its number is
/// free, or has a root with another serial number) is taken by the next one.
struct Devices(SpinLock<Vec<Device>>);

struct Device {
    hierarchy: usize,
    root: u64,
    number: DeviceNumber,
}

impl Devices {
    fn of(&self, mounted: &Mounted) -> DeviceNumber {
        let (hierarchy, root) = (mounted.hierarchy().number(), mounted.root().serial());
        let mut known = self.0.lock();
        if let Some(device) = known.iter().find(|device| device.root == root) {
            return device.number;
        }
        let number = next_device();
        known.retain(|device| device.hierarchy != hierarchy);
        known.push(Device { hierarchy, root, number });
        number
    }
}

impl FileSystemType for ContainerType {
    fn name(&self) -> &'static str {
        self.name
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        let data = match self.fixed {
            Some(_) if !request.data.is_empty() => return Err(Errno::EINVAL),
            Some(fixed) => fixed.as_bytes(),
            None => request.data,
        };
        let mounted = self.framework.mount(self.dialect, data, request.credentials)?;
        let device = self.devices.of(&mounted);
        let framework = self.framework.clone();
        Ok(Arc::new_cyclic(|own| ContainerFs { framework, mounted, device, own: own.clone() }))
    }
}

/// One mount of a hierarchy. The last reference is the umount.
struct ContainerFs {
    framework: Arc<Framework>,
    mounted: Mounted,
    device: DeviceNumber,
    own: alloc::sync::Weak<Self>,
}

impl FileSystem for ContainerFs {
    fn kind(&self) -> &str {
        self.mounted.hierarchy().dialect().name()
    }

    fn root(&self) -> Arc<dyn Inode> {
        let own = self.own.upgrade().expect("whoever asks for the root holds the file system");
        Arc::new(Directory::new(own, self.mounted.root().clone()))
    }

    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn statistics(&self) -> StatFs {
        StatFs { magic: MAGIC, block_size: 4096, ..StatFs::default() }
    }

    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let options = self.mounted.options();
        match &*String::from_utf8_lossy(&options) {
            "" => Ok(()),
            options => write!(out, ",{options}"),
        }
    }

    fn remount(&self, data: &[u8], credentials: &Credentials) -> Result<(), Errno> {
        self.mounted.remount(data, credentials)
    }
}

/// The number of an inode: the container's serial number, and below it the place of a control file, 0 for the
/// directory itself.
fn inode_number(serial: u64, file: Option<container::File>) -> u64 {
    serial << 16 | file.map_or(0, |file| file.index() as u64 + 1)
}
