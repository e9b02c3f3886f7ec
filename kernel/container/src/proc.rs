//! What `/proc` shows of containers. Rule: interfaces.md, section 9.

use crate::{
    container::Container,
    framework::{Active, Framework},
    hierarchy::Hierarchy,
    member::{Member, Phase},
    subsystem::MAX_SUBSYSTEMS,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use base::Errno;
use machine::sync::{Arc, atomic::Ordering::Relaxed};

/// A path of so many bytes or more is not shown.
const PATH_MAX: usize = 4096;

/// The active hierarchies of a task, each with the path of the task's container.
type Places = Vec<(Arc<Hierarchy>, Vec<u8>)>;

impl Framework {
    /// `/proc/containers`.
    pub fn proc_containers(&self) -> String {
        let mut text = String::from("Hierarchies:\n");
        text += &format!("0: topcount={} bits=0 containers=1 ()\n", self.count_tasks(self.dummy()) + 1);
        for Active { hierarchy, root } in self.active() {
            let mounts = hierarchy.mounts.load(Relaxed);
            text += &format!(
                "{}: topcount={} bits={:x} containers={} ({}) s_active={} dialect={} mounts={mounts}",
                hierarchy.number,
                self.count_tasks(&root) + 1,
                hierarchy.subsystems.bits(),
                hierarchy.container_count(),
                self.names(&hierarchy, ", ", false),
                mounts + root.child_count(),
                hierarchy.dialect.name(),
            );
            if let Some(name) = &hierarchy.name {
                text += &format!(" name={name}");
            }
            text += "\n";
        }
        text += "Subsystems:\n";
        for index in 0..MAX_SUBSYSTEMS {
            if let Some(subsystem) = self.built_in(index) {
                let number = self.hierarchy_of(index).map_or(0, |active| active.hierarchy.number);
                let enabled = u8::from(self.enabled().contains(index));
                text += &format!("{index}: name={} hierarchy={number} enabled={enabled}\n", subsystem.name());
            }
        }
        text
    }

    /// `/proc/cgroups`.
    pub fn proc_cgroups(&self) -> String {
        let mut text = String::from("#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
        for index in 0..MAX_SUBSYSTEMS {
            if let Some(subsystem) = self.built_in(index) {
                let bound = self.hierarchy_of(index).map(|active| active.hierarchy);
                let (number, count) = bound.map_or((0, 1), |bound| (bound.number, bound.container_count()));
                let enabled = u8::from(self.enabled().contains(index));
                text += &format!("{}\t{number}\t{count}\t{enabled}\n", subsystem.name());
            }
        }
        text
    }

    /// `/proc/<pid>/container`: `names:path` for each active hierarchy, ascending.
    ///
    /// Errors: `ENAMETOOLONG` a path of 4096 bytes or more.
    pub fn task_container(&self, task: &dyn Member) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        for (hierarchy, path) in self.paths_of(task)? {
            text.extend([self.names(&hierarchy, ",", true).as_bytes(), b":", &path, b"\n"].concat());
        }
        Ok(text)
    }

    /// `/proc/<pid>/cgroup`: `number:names:path` for each active hierarchy, descending.
    ///
    /// Errors: `ENAMETOOLONG` a path of 4096 bytes or more.
    pub fn task_cgroup(&self, task: &dyn Member) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        for (hierarchy, path) in self.paths_of(task)?.into_iter().rev() {
            let number = hierarchy.number.to_string();
            let names = self.names(&hierarchy, ",", true);
            text.extend([number.as_bytes(), b":", names.as_bytes(), b":", &path, b"\n"].concat());
        }
        Ok(text)
    }

    /// `/proc/<pid>/cpuset`: the path in cpuset's hierarchy, `/` if there is none.
    ///
    /// Errors: `ENAMETOOLONG` a path of 4096 bytes or more.
    pub fn task_cpuset(&self, task: &dyn Member) -> Result<Vec<u8>, Errno> {
        let active = self.subsystem_named(b"cpuset").and_then(|index| self.hierarchy_of(index));
        let mut text = match active {
            Some(active) => path_in(&active, task)?,
            None => b"/".to_vec(),
        };
        text.push(b'\n');
        Ok(text)
    }

    /// Subsystems by index, joined by `separator`; `with_name`: then `name=X` if the hierarchy has a name.
    pub(crate) fn names(&self, hierarchy: &Hierarchy, separator: &str, with_name: bool) -> String {
        let mut names: Vec<_> =
            hierarchy.subsystems.iter().map(|index| self.subsystem(index).name().to_string()).collect();
        if with_name {
            names.extend(hierarchy.name.as_ref().map(|name| format!("name={name}")));
        }
        names.join(separator)
    }

    fn paths_of(&self, task: &dyn Member) -> Result<Places, Errno> {
        let path = |active: Active| Ok((active.hierarchy.clone(), path_in(&active, task)?));
        self.active().into_iter().map(path).collect()
    }
}

/// The path of the task's container in a hierarchy; `/` for a zombie.
fn path_in(active: &Active, task: &dyn Member) -> Result<Vec<u8>, Errno> {
    let membership = task.membership();
    let set = if membership.phase() == Phase::Left { None } else { membership.set() };
    let place = set.as_ref().and_then(|set| set.place(active.hierarchy.number));
    // The number may have passed to another hierarchy since `active` was looked up; then the task was in the root.
    let here = |container: &&Arc<Container>| Arc::ptr_eq(container.hierarchy(), &active.hierarchy);
    let path = place.filter(here).map_or_else(|| b"/".to_vec(), |container| container.path());
    if path.len() >= PATH_MAX { Err(Errno::ENAMETOOLONG) } else { Ok(path) }
}
