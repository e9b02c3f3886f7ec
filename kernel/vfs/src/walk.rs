//! The walk along a path, one component at a time, without a cache of names.
//!
//! A walk goes up to the last component and stops before it ([`Walk::advance`]), because what happens there differs:
//! it is looked up, created, removed, or followed as a symbolic link, which sends the walk on.

use crate::{
    Caller, FileKind, Follow, Inode, Link, Location, MountFlags, Start, mount::Named, open_file::Name, permission,
};
use alloc::{borrow::Cow, sync::Arc, vec::Vec};
use base::Errno;
use bitflags::bitflags;
use core::ops::Range;

/// The longest name of a file.
pub const LONGEST_NAME: usize = 255;
/// The longest path, without its NUL.
pub const LONGEST_PATH: usize = 4095;
/// Symbolic links that one walk follows.
const MOST_LINKS: u32 = 40;

bitflags! {
    /// Where a walk may not go (`RESOLVE_*` of `openat2(2)`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Resolve: u64 {
        /// `RESOLVE_NO_XDEV`: from one mount to another; `EXDEV`.
        const NO_CROSSING = 0x01;
        /// `RESOLVE_NO_MAGICLINKS`: along links of `/proc` that are no paths; `ELOOP`.
        const NO_MAGIC_LINKS = 0x02;
        /// `RESOLVE_NO_SYMLINKS`: along any link; `ELOOP`.
        const NO_LINKS = 0x04;
        /// `RESOLVE_BENEATH`: out of the directory where it starts; `EXDEV`.
        const BENEATH = 0x08;
        /// `RESOLVE_IN_ROOT`: that directory is the root.
        const IN_ROOT = 0x10;
        /// `RESOLVE_CACHED`: to where it would have to wait for a disk. There is none.
        const CACHED = 0x20;
    }
}

impl Resolve {
    /// Those that keep a walk in the directory where it starts.
    const SCOPED: Self = Self::BENEATH.union(Self::IN_ROOT);
}

/// The last component of a path.
pub(crate) enum Last {
    /// A name in the directory that the walk stands in.
    Name {
        /// The name; [`Walk::name`] has its bytes.
        name: Range<usize>,
        /// A slash followed it: it must be a directory.
        slash: bool,
    },
    /// `.`, `..` or nothing but slashes: the walk stands on what the path means.
    Here(Dots),
}

/// Which kind of path ended without a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dots {
    /// `/`, or an empty path where that is allowed, or a jump by a link of `/proc`.
    Start,
    /// `.`
    One,
    /// `..`
    Two,
}

/// How many bytes come before the first slash, or the end.
fn component_length(path: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = path.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // Bytes that are slashes become 0, and of those the lowest gets its highest bit, by a borrow that starts there.
        let word = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'/'));
        let slashes = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if slashes != 0 {
            return index * 8 + slashes.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().take_while(|&&byte| byte != b'/').count()
}

/// A walk under way.
pub(crate) struct Walk<'a> {
    caller: Caller<'a>,
    /// Where it stands.
    pub at: Location,
    /// The name of what it stands on, if that came by an open file and not along the path.
    pub entry: Option<Name>,
    path: Cow<'a, [u8]>,
    next: usize,
    links: u32,
    resolve: Resolve,
    /// The directory that a scoped walk stays in.
    base: Option<Location>,
}

impl<'a> Walk<'a> {
    /// A walk of `path` from `start`. `ENOENT` an empty path (unless `empty` allows it), `ENAMETOOLONG`, `EBADF`.
    pub fn new(caller: Caller<'a>, start: Start<'_>, path: &'a [u8], empty: bool) -> Result<Self, Errno> {
        if path.is_empty() && !empty {
            return Err(Errno::ENOENT);
        }
        if path.len() > LONGEST_PATH {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut entry = None;
        let at = if path.first() == Some(&b'/') {
            caller.context.root()
        } else {
            match start {
                Start::WorkingDirectory => caller.context.working_directory(),
                Start::File(file) => {
                    entry = if path.is_empty() { file.entry() } else { None };
                    file.location()
                }
            }
        };
        Ok(Self {
            caller,
            at,
            entry,
            path: Cow::Borrowed(path),
            next: 0,
            links: 0,
            resolve: Resolve::empty(),
            base: None,
        })
    }

    /// A walk that keeps to `resolve`. Errors besides those of [`Walk::new`]: see [`Resolve`].
    pub fn within(caller: Caller<'a>, start: Start<'_>, path: &'a [u8], resolve: Resolve) -> Result<Self, Errno> {
        let mut walk = Self::new(caller, start, path, false)?;
        walk.resolve = resolve;
        if resolve.intersects(Resolve::SCOPED) {
            let base = match start {
                Start::WorkingDirectory => caller.context.working_directory(),
                Start::File(file) => file.location(),
            };
            walk.base = Some(base);
            if path.first() == Some(&b'/') {
                walk.go_to_root()?;
            }
        }
        Ok(walk)
    }

    /// Goes to the root that the walk has. `EXDEV` it may not.
    fn go_to_root(&mut self) -> Result<(), Errno> {
        if self.resolve.contains(Resolve::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let root = self.base.clone().unwrap_or_else(|| self.caller.context.root());
        self.check_crossing(&root)?;
        self.at = root;
        Ok(())
    }

    /// `EXDEV` the step leads to another mount, and it may not.
    fn check_crossing(&self, target: &Location) -> Result<(), Errno> {
        let number = |location: &Location| location.mount.as_ref().map(|mount| mount.number());
        let forbidden = self.resolve.contains(Resolve::NO_CROSSING) && number(target) != number(&self.at);
        if forbidden { Err(Errno::EXDEV) } else { Ok(()) }
    }

    /// Goes one directory up, unless it stands at the root. `EXDEV` it may not.
    fn go_up(&mut self) -> Result<(), Errno> {
        let at_root = match &self.base {
            Some(base) => base.is_same(&self.at),
            None => self.caller.context.is_root(&self.at),
        };
        if at_root {
            let leaves = self.resolve.contains(Resolve::BENEATH);
            return if leaves { Err(Errno::EXDEV) } else { Ok(()) };
        }
        if let Some(parent) = self.at.parent() {
            self.check_crossing(&parent)?;
            self.at = parent;
        }
        Ok(())
    }

    /// Goes where a link of `/proc` leads. `ELOOP`, `EXDEV` it may not.
    fn jump(&mut self, target: Location, entry: Option<Name>) -> Result<(), Errno> {
        if self.resolve.contains(Resolve::NO_MAGIC_LINKS) {
            return Err(Errno::ELOOP);
        }
        if self.base.is_some() {
            return Err(Errno::EXDEV);
        }
        self.check_crossing(&target)?;
        (self.at, self.entry) = (target, entry);
        Ok(())
    }

    /// Goes on to the last component and stops before it. Errors: those of every walk, see [`Caller`].
    pub fn advance(&mut self) -> Result<Last, Errno> {
        let mut dots = Dots::Start;
        loop {
            let path = &*self.path;
            let begin = self.next + path[self.next..].iter().take_while(|&&byte| byte == b'/').count();
            if begin == path.len() {
                // Without a slash the walk ends on its start or on what a link jumped to, which may be anything.
                if begin > self.next {
                    self.demand_directory()?;
                }
                return Ok(Last::Here(dots));
            }
            let length = component_length(&path[begin..]);
            let end = begin + length;
            let slash = end < path.len();
            self.entry = None;
            let last = path[end..].iter().all(|&byte| byte == b'/');
            self.demand_directory()?;
            let ownership = self.at.inode.ownership();
            permission::check(ownership, FileKind::Directory, self.caller.credentials, permission::EXECUTE)?;
            if length > LONGEST_NAME {
                return Err(Errno::ENAMETOOLONG);
            }
            match &path[begin..end] {
                b"." => dots = Dots::One,
                b".." => {
                    dots = Dots::Two;
                    self.go_up()?;
                }
                _ if last => {
                    self.next = path.len();
                    return Ok(Last::Name { name: begin..end, slash });
                }
                name => {
                    let inode = self.at.inode.lookup(name)?;
                    self.next = end;
                    dots = Dots::Start;
                    self.enter(inode, true)?;
                    continue;
                }
            }
            self.next = end;
        }
    }

    fn demand_directory(&self) -> Result<(), Errno> {
        if self.at.inode.kind() == FileKind::Directory { Ok(()) } else { Err(Errno::ENOTDIR) }
    }

    /// Steps onto `inode`, found in the directory where the walk stands, and onto what is mounted there. If it is a
    /// symbolic link that is to be followed, the walk instead goes on along the link (true: call `advance` again).
    pub fn enter(&mut self, mut inode: Arc<dyn Inode>, follow: bool) -> Result<bool, Errno> {
        match inode.kind() {
            FileKind::Symlink if follow => {
                // What is mounted on a link is there instead of it.
                if let Some(child) = self.at.mount.as_ref().and_then(|mount| mount.child_at(&*inode)) {
                    let top = child.top().cross_mounts();
                    self.check_crossing(&top)?;
                    if top.inode.kind() != FileKind::Symlink {
                        self.at = top;
                        return Ok(false);
                    }
                    inode = top.inode;
                }
                self.links += 1;
                let forbidden =
                    self.resolve.contains(Resolve::NO_LINKS) || self.at.mount_flags().contains(MountFlags::NO_LINKS);
                if self.links > MOST_LINKS || forbidden {
                    return Err(Errno::ELOOP);
                }
                if let Some(mount) = &self.at.mount {
                    inode.note_access(mount);
                }
                match inode.follow()? {
                    Link::Path(text) => self.follow(text)?,
                    Link::Jump(location) => self.jump(location, None)?,
                    Link::File(file) => self.jump(file.location(), file.entry())?,
                }
                Ok(true)
            }
            _ => {
                let mounted = self.at.mount.as_ref().and_then(|mount| mount.child_at(&*inode));
                match mounted {
                    Some(child) => {
                        let top = child.top().cross_mounts();
                        self.check_crossing(&top)?;
                        self.at = top;
                    }
                    None => self.at.inode = inode,
                }
                Ok(false)
            }
        }
    }

    /// Where it stands, and the path.
    pub fn into_parts(self) -> (Location, Cow<'a, [u8]>) {
        (self.at, self.path)
    }

    /// The bytes of a last component.
    pub fn name(&self, name: &Range<usize>) -> &[u8] {
        &self.path[name.clone()]
    }

    /// Puts the text of a link before what is left of the path.
    fn follow(&mut self, mut text: Vec<u8>) -> Result<(), Errno> {
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        if text.first() == Some(&b'/') {
            self.go_to_root()?;
        }
        text.extend_from_slice(&self.path[self.next..]);
        if text.len() > LONGEST_PATH {
            return Err(Errno::ENAMETOOLONG);
        }
        self.path = Cow::Owned(text);
        self.next = 0;
        Ok(())
    }

    /// Goes to the end, following a link there or not.
    pub fn finish(mut self, follow: bool) -> Result<Location, Errno> {
        loop {
            match self.advance()? {
                Last::Here(_) => return Ok(self.at),
                Last::Name { name, slash } => {
                    let inode = self.at.inode.lookup(self.name(&name))?;
                    if self.enter_last(inode, follow, slash)? {
                        continue;
                    }
                    return Ok(self.at);
                }
            }
        }
    }

    /// Goes to the end, following a link there or not, and finds what it is called.
    pub fn finish_named(mut self, follow: bool) -> Result<Named, Errno> {
        loop {
            match self.advance()? {
                Last::Here(_) => return Ok(Named { location: self.at, name: self.entry }),
                Last::Name { name, slash } => {
                    let directory = self.at.inode.clone();
                    let inode = directory.lookup(self.name(&name))?;
                    let entry = Name { directory, name: self.name(&name).into() };
                    if !self.enter_last(inode, follow, slash)? {
                        return Ok(Named { location: self.at, name: Some(entry) });
                    }
                }
            }
        }
    }

    /// [`Walk::enter`] for the last component: a slash after it wants a directory and follows links.
    pub fn enter_last(&mut self, inode: Arc<dyn Inode>, follow: bool, slash: bool) -> Result<bool, Errno> {
        if slash && inode.kind() == FileKind::Symlink {
            // The link's text takes the name's place, and its slash stays.
            self.path = Cow::Borrowed(b"/");
            self.next = 0;
        }
        let follows = self.enter(inode, follow || slash)?;
        if !follows && slash {
            self.demand_directory()?;
        }
        Ok(follows)
    }
}

impl Follow {
    /// Whether a link at the end is followed.
    pub(crate) fn follows(self) -> bool {
        matches!(self, Self::Yes | Self::YesOrEmpty)
    }

    /// Whether an empty path means the start.
    pub(crate) fn allows_empty(self) -> bool {
        matches!(self, Self::YesOrEmpty | Self::NoOrEmpty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_component_ends_at_the_first_slash(path in prop::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), Just(b'0'), any::<u8>()], 0..40)) {
            let expected = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
            prop_assert_eq!(component_length(&path), expected);
        }
    }
}
