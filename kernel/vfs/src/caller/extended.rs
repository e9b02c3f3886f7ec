//! Extended attributes: who may see and change which.
//!
//! | namespace | who | on what |
//! |---|---|---|
//! | `user.` | whom the permission bits let read or write the file | regular files and directories |
//! | `trusted.` | the holders of CAP_SYS_ADMIN; the others don't even see them | everything |
//! | `security.` | everybody reads; CAP_SYS_ADMIN writes, `security.capability` CAP_SETFCAP | everything |
//!
//! All others are `EOPNOTSUPP`.

use super::Caller;
use crate::{FileKind, Inode, Location, Named, Permissions, permission, watches::FileEvents};
use alloc::vec::Vec;
use base::{
    Capabilities, Errno,
    extended::{ExtendedAttributes, LONGEST_VALUE, SetMode},
};

const TRUSTED: &[u8] = b"trusted.";
const CAPABILITY: &[u8] = b"security.capability";

/// Whether the value has the form of a file's capabilities: version 2, or 3 with the user who is root.
fn is_file_capability(value: &[u8]) -> bool {
    matches!((value.len(), value.get(3)), (20, Some(2)) | (24, Some(3)))
}

impl Caller<'_> {
    /// `getxattr(2)`. `ENODATA` there is no such attribute, or none that the caller may see; `EACCES`; `EOPNOTSUPP`.
    pub fn attribute(&self, location: &Location, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.check_attribute(&*location.inode, name, permission::READ)?;
        let mut value = Err(Errno::ENODATA);
        location.inode.with_extended(&mut |all| {
            value = all.get(name).map(<[u8]>::to_vec);
            Ok(())
        })?;
        value
    }

    /// `listxattr(2)`: the names, each with a NUL behind it. `E2BIG` more than a list can be.
    pub fn attribute_names(&self, location: &Location) -> Result<Vec<u8>, Errno> {
        let trusted = self.credentials.has(Capabilities::SYS_ADMIN);
        let mut list = Vec::new();
        let all = location.inode.with_extended(&mut |all| {
            let seen = all.names().filter(|name| trusted || !name.starts_with(TRUSTED));
            seen.for_each(|name| list.extend(name.iter().chain(&[0])));
            Ok(())
        });
        match all {
            // What can't have any has none.
            Err(Errno::EOPNOTSUPP) => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(()) if list.len() > LONGEST_VALUE => Err(Errno::E2BIG),
            Ok(()) => Ok(list),
        }
    }

    /// `setxattr(2)`. `EROFS`; `EPERM`, `EACCES` as the namespace says; `EOPNOTSUPP`; `EEXIST`, `ENODATA` as `mode` says;
    /// `ENOSPC`; `ENOMEM` memory is low; `EINVAL` a value that `security.capability` can't have.
    pub fn set_attribute(&self, place: &Named, name: &[u8], value: &[u8], mode: SetMode) -> Result<(), Errno> {
        if name == CAPABILITY && !is_file_capability(value) {
            place.location.check_writable()?;
            return Err(Errno::EINVAL);
        }
        if memory::frames::are_low() {
            return Err(Errno::ENOMEM);
        }
        self.change_attributes(place, name, &mut |all| all.set(name.to_vec(), value.to_vec(), mode))
    }

    /// `removexattr(2)`. `ENODATA` there is none; the rest as for [`Caller::set_attribute`].
    pub fn remove_attribute(&self, place: &Named, name: &[u8]) -> Result<(), Errno> {
        self.change_attributes(place, name, &mut |all| all.remove(name))
    }

    fn change_attributes(
        &self,
        place: &Named,
        name: &[u8],
        change: &mut dyn FnMut(&mut ExtendedAttributes) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        place.location.check_writable()?;
        let inode = &*place.location.inode;
        self.check_attribute(inode, name, permission::WRITE)?;
        inode.with_extended(change)?;
        place.tell(FileEvents::ATTRIBUTES);
        Ok(())
    }

    /// Whether the caller may do that to the attribute, in Linux's order of checks.
    fn check_attribute(&self, inode: &dyn Inode, name: &[u8], access: u16) -> Result<(), Errno> {
        let who = self.credentials;
        let writes = access == permission::WRITE;
        let refusal = if writes { Errno::EPERM } else { Errno::ENODATA };
        let namespace = name.iter().position(|&byte| byte == b'.').map_or(&[][..], |dot| &name[..=dot]);
        match namespace {
            b"security." => {
                let needed = match name {
                    CAPABILITY => Capabilities::SETFCAP,
                    _ => Capabilities::SYS_ADMIN,
                };
                if writes && !who.has(needed) {
                    return Err(Errno::EPERM);
                }
            }
            b"system." => return Err(Errno::EOPNOTSUPP),
            b"trusted." => {
                if !who.has(Capabilities::SYS_ADMIN) {
                    return Err(refusal);
                }
            }
            b"user." => {
                let ownership = inode.ownership();
                let directory = inode.kind() == FileKind::Directory;
                if !directory && inode.kind() != FileKind::Regular {
                    return Err(refusal);
                }
                // Else everybody could fill up /tmp itself.
                let sticky = directory && ownership.permissions.any(Permissions::STICKY);
                if sticky && writes && !permission::is_owner(ownership, who) {
                    return Err(Errno::EPERM);
                }
                permission::check_inode(inode, who, access)?;
            }
            _ => {
                permission::check_inode(inode, who, access)?;
                return Err(Errno::EOPNOTSUPP);
            }
        }
        // The namespace alone is no name.
        if name.len() == namespace.len() { Err(Errno::EINVAL) } else { Ok(()) }
    }
}
