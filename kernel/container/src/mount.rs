//! Mounting, remounting, unmounting: how hierarchies come, persist and go. Rule: interfaces.md, sections 2.2 to 2.5.

use crate::{
    container::{Attributes, Container},
    files::FileTable,
    framework::{Active, Framework, MAX_HIERARCHIES},
    hierarchy::{Dialect, Hierarchy, Subsystems},
    options::Options,
    set::States,
    state::Place,
};
use alloc::vec::Vec;
use base::{Capabilities, Credentials, Errno};
use core::fmt::Write;
use machine::sync::{
    Arc,
    atomic::Ordering::{Relaxed, SeqCst},
};

/// One mount of a hierarchy. Dropping it is the umount: the last one dissolves the hierarchy before `drop`
/// returns, unless there are child containers. Locks of the drop: *manage*, exclusive.
pub struct Mounted {
    framework: Arc<Framework>,
    active: Active,
}

impl Mounted {
    /// The hierarchy.
    pub fn hierarchy(&self) -> &Arc<Hierarchy> {
        &self.active.hierarchy
    }

    /// The root container: the mounted directory.
    pub fn root(&self) -> &Arc<Container> {
        &self.active.root
    }

    /// The options that `/proc/mounts` shows behind the mount's own flags: `cpuset,numtasks,name=x`.
    pub fn options(&self) -> Vec<u8> {
        self.framework.options_of(&self.active)
    }

    /// Changes what a remount may change; an empty data string changes nothing.
    ///
    /// Errors: `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` wrong options or another `noprefix`; `EBUSY` another set
    /// or name. Locks: *manage*, exclusive.
    pub fn remount(&self, data: &[u8], credentials: &Credentials) -> Result<(), Errno> {
        check_administrator(credentials)?;
        if data.is_empty() {
            return Ok(());
        }
        let _manage = self.framework.manage.write();
        let hierarchy = &self.active.hierarchy;
        let options = self.framework.options_for(data)?;
        let other_set = options.subsystems.is_some_and(|subsystems| subsystems != hierarchy.subsystems);
        if other_set || options.name.is_some_and(|name| Some(name) != hierarchy.name) {
            return Err(Errno::EBUSY);
        }
        if options.no_prefix != hierarchy.no_prefix {
            return Err(Errno::EINVAL);
        }
        if let Some(agent) = options.agent {
            *hierarchy.agent.lock() = agent;
        }
        set_flags(&self.active.root, options.clone_children, options.auto_remove);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _manage = self.framework.manage.write();
        self.active.hierarchy.mounts.fetch_sub(1, Relaxed);
        self.framework.dissolve_if_unused(&self.active);
    }
}

fn check_administrator(credentials: &Credentials) -> Result<(), Errno> {
    if credentials.has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
}

impl Framework {
    /// Mounts the hierarchy that `data` asks for, or makes it.
    ///
    /// Errors, in this order: `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` wrong options; `EBUSY` a hierarchy of that
    /// name has another set, or a subsystem is bound elsewhere; `ENOSPC` no number is free.
    /// Locks: *manage*, exclusive.
    pub fn mount(self: &Arc<Self>, dialect: Dialect, data: &[u8], credentials: &Credentials) -> Result<Mounted, Errno> {
        check_administrator(credentials)?;
        let _manage = self.manage.write();
        let options = self.options_for(data)?;
        let active = match self.matching(&options)? {
            Some(active) => {
                log_differences(&active, dialect, &options);
                active
            }
            None => self.new_hierarchy(dialect, options)?,
        };
        active.hierarchy.mounts.fetch_add(1, Relaxed);
        Ok(Mounted { framework: self.clone(), active })
    }

    /// The options of a data string, a name that asks for an existing hierarchy looked up.
    fn options_for(&self, data: &[u8]) -> Result<Options, Errno> {
        let options = Options::parse(self, data)?;
        if options.subsystems.is_none() && !self.active().iter().any(|active| active.hierarchy.name == options.name) {
            return Err(Errno::EINVAL);
        }
        Ok(options)
    }

    /// The hierarchy that a request means, if there is one.
    fn matching(&self, options: &Options) -> Result<Option<Active>, Errno> {
        let all = self.active();
        let named = options
            .name
            .as_ref()
            .and_then(|name| all.iter().find(|active| active.hierarchy.name.as_ref() == Some(name)));
        if let Some(named) = named {
            let same = options.subsystems.is_none_or(|subsystems| subsystems == named.hierarchy.subsystems);
            return if same { Ok(Some(named.clone())) } else { Err(Errno::EBUSY) };
        }
        let equal = |active: &&Active| options.subsystems == Some(active.hierarchy.subsystems);
        Ok(if options.name.is_none() { all.iter().find(equal).cloned() } else { None })
    }

    fn new_hierarchy(&self, dialect: Dialect, options: Options) -> Result<Active, Errno> {
        let subsystems = options.subsystems.unwrap_or_default();
        if subsystems.iter().any(|index| self.hierarchy_of(index).is_some()) {
            return Err(Errno::EBUSY);
        }
        let number = {
            let active = self.active.lock();
            (1..MAX_HIERARCHIES).find(|&number| active[number].is_none()).ok_or(Errno::ENOSPC)?
        };
        let files = FileTable::new(self, dialect, subsystems, options.no_prefix);
        let (clone_children, auto_remove) = (options.clone_children, options.auto_remove);
        let hierarchy = Arc::new(Hierarchy::new(number, dialect, options, files));
        let mut states = States::default();
        subsystems.iter().for_each(|index| states[index] = self.roots()[index].clone());
        let root = Arc::new(Container::new(
            self.next_serial(),
            hierarchy.clone(),
            None,
            Place::root(),
            states,
            Attributes::root_directory(),
        ));
        set_flags(&root, clone_children, auto_remove);
        let active = Active { hierarchy, root };
        self.active.lock()[number] = Some(active.clone());
        self.bind(subsystems, &active.hierarchy);
        Ok(active)
    }

    /// Ends a hierarchy that is neither mounted nor has children. Held: *manage*, exclusive.
    pub(crate) fn dissolve_if_unused(&self, active: &Active) {
        let Active { hierarchy, root } = active;
        let used = hierarchy.mounts.load(Relaxed) > 0 || root.child_count() > 0;
        if used || root.removed.swap(true, SeqCst) {
            return;
        }
        let gone = self.active.lock()[hierarchy.number].take();
        self.bind(hierarchy.subsystems, self.dummy().hierarchy());
        drop(gone);
    }

    fn bind(&self, subsystems: Subsystems, hierarchy: &Hierarchy) {
        for index in subsystems.iter() {
            if let Some(root) = &self.roots()[index] {
                self.subsystem(index).bind(&**root, hierarchy);
            }
        }
    }

    fn options_of(&self, active: &Active) -> Vec<u8> {
        let (hierarchy, flags) = (&active.hierarchy, &active.root.flags);
        let mut words: Vec<Vec<u8>> = Vec::new();
        words.extend(hierarchy.subsystems.iter().map(|index| self.subsystem(index).name().into()));
        if hierarchy.no_prefix {
            words.push(b"noprefix".to_vec());
        }
        if hierarchy.xattr {
            words.push(b"xattr".to_vec());
        }
        let agent = hierarchy.agent();
        if !agent.is_empty() {
            words.push([&b"release_agent="[..], &escaped(&agent)].concat());
        }
        if flags.clone_children.load(Relaxed) {
            words.push(b"clone_children".to_vec());
        }
        if flags.auto_remove.load(Relaxed) {
            words.push(b"auto_remove".to_vec());
        }
        if let Some(name) = &hierarchy.name {
            words.push([&b"name="[..], name.as_bytes()].concat());
        }
        words.join(&b',')
    }
}

/// Sets what was asked for; an option that is not given leaves the flag as it is.
fn set_flags(root: &Container, clone_children: bool, auto_remove: bool) {
    root.flags.clone_children.fetch_or(clone_children, SeqCst);
    root.flags.auto_remove.fetch_or(auto_remove, SeqCst);
}

/// The text with what would break a line of `/proc/mounts` as `\ooo`.
fn escaped(text: &[u8]) -> Vec<u8> {
    let octal = |byte: u8| [b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)];
    let mut shown = Vec::new();
    for &byte in text {
        match byte {
            b',' | b' ' | b'\t' | b'\n' | b'\\' => shown.extend(octal(byte)),
            _ => shown.push(byte),
        }
    }
    shown
}

fn log_differences(active: &Active, dialect: Dialect, options: &Options) {
    let (hierarchy, flags) = (&active.hierarchy, &active.root.flags);
    let mut differences = alloc::string::String::new();
    let mut differs = |what: &str, differs: bool| {
        if differs {
            // Writing to a string does not fail.
            let _ = write!(differences, " {what}");
        }
    };
    differs("type", dialect != hierarchy.dialect);
    differs("noprefix", options.no_prefix != hierarchy.no_prefix);
    differs("xattr", options.xattr != hierarchy.xattr);
    differs("clone_children", options.clone_children != flags.clone_children.load(Relaxed));
    differs("auto_remove", options.auto_remove != flags.auto_remove.load(Relaxed));
    differs("name", options.name.is_some() && options.name != hierarchy.name);
    differs("release_agent", options.agent.as_ref().is_some_and(|agent| *agent != hierarchy.agent()));
    if !differences.is_empty() {
        machine::log!("container: hierarchy {} is mounted as it is; differs in:{differences}", hierarchy.number);
    }
}
