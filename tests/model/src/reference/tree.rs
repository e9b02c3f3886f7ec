//! Making, removing and renaming containers, and what follows when one becomes empty. Rules: sections 3 and 8.

use super::{Container, Model, State, beancounters::Bean};
use base::Errno;

impl Model {
    pub(super) fn add_container(&mut self, container: Container) -> u32 {
        let id = self.next_container;
        self.next_container += 1;
        self.containers.insert(id, container);
        id
    }

    /// The new container.
    pub fn mkdir(&mut self, parent: u32, name: &[u8]) -> Result<u32, Errno> {
        if self.containers[&parent].removed {
            return Err(Errno::ENOENT);
        }
        check_name(name)?;
        if self.is_taken(parent, name) {
            return Err(Errno::EEXIST);
        }
        let above = self.containers[&parent].clone();
        let mut state = State::default();
        let exclusive = |sibling: &u32| self.state(*sibling).cpu_exclusive || self.state(*sibling).mem_exclusive;
        if above.clone_children && !above.children.iter().any(exclusive) {
            (state.cpus, state.mems) = (self.state(parent).cpus, self.state(parent).mems);
        }
        if self.hierarchies[&above.hierarchy].subsystems.contains(&8) {
            state.bean_id = self.next_bean;
            self.next_bean += 1;
        }
        state.beans[4] = Bean::files();
        state.spread_page = self.state(parent).spread_page;
        state.spread_slab = self.state(parent).spread_slab;
        state.memory = self.state(parent).memory.of_child();
        state.rules = self.state(parent).rules.clone();
        let child = self.add_container(Container {
            name: name.to_vec(),
            parent: Some(parent),
            children: Vec::new(),
            state,
            ..above
        });
        self.containers.get_mut(&parent).expect("a container's number").children.push(child);
        Ok(child)
    }

    /// Removes a container.
    pub fn rmdir(&mut self, parent: u32, name: &[u8]) -> Result<(), Errno> {
        let container = self.find(parent, name)?;
        if !self.is_empty(container) {
            return Err(Errno::EBUSY);
        }
        self.remove(container);
        Ok(())
    }

    /// Gives a container another name.
    pub fn rename(&mut self, parent: u32, name: &[u8], new_parent: u32, new_name: &[u8]) -> Result<(), Errno> {
        let container = self.find(parent, name);
        if container != Err(Errno::ENOENT) && new_name.contains(&b'\n') {
            return Err(Errno::EINVAL);
        }
        let container = container?;
        if parent != new_parent {
            return Err(Errno::EIO);
        }
        if name == new_name {
            return Ok(());
        }
        check_name(new_name)?;
        if self.is_taken(parent, new_name) {
            return Err(Errno::EEXIST);
        }
        self.containers.get_mut(&container).expect("it was found").name = new_name.to_vec();
        Ok(())
    }

    fn find(&self, parent: u32, name: &[u8]) -> Result<u32, Errno> {
        if self.containers[&parent].removed {
            return Err(Errno::ENOENT);
        }
        if self.files(parent).iter().any(|file| file.as_bytes() == name) {
            return Err(Errno::ENOTDIR);
        }
        let children = &self.containers[&parent].children;
        children.iter().copied().find(|child| self.containers[child].name == name).ok_or(Errno::ENOENT)
    }

    fn is_taken(&self, parent: u32, name: &[u8]) -> bool {
        let file = self.files(parent).iter().any(|file| file.as_bytes() == name);
        file || self.containers[&parent].children.iter().any(|child| self.containers[child].name == name)
    }

    fn remove(&mut self, container: u32) {
        let gone = self.containers.get_mut(&container).expect("a container's number");
        gone.removed = true;
        let (hierarchy, parent, time) = (gone.hierarchy, gone.parent.expect("no root is removed"), gone.state.time);
        let above = self.state_mut(parent);
        for (into, from) in above.time.iter_mut().flatten().zip(time.iter().flatten()) {
            *into += from;
        }
        self.hand_over(container, parent);
        self.containers.get_mut(&parent).expect("a container's number").children.retain(|&child| child != container);
        self.may_be_empty(parent);
        if self.is_root(parent) {
            self.dissolve_if_unused(hierarchy);
        }
    }

    /// A task or a child has left: if nothing is there now, the container became empty.
    pub(super) fn may_be_empty(&mut self, container: u32) {
        let here = &self.containers[&container];
        let wanted = here.notify || here.auto_remove;
        if !self.is_root(container) && !here.removed && wanted && self.is_empty(container) {
            self.emptied.push(container);
        }
    }

    /// The worker looks at all that became empty. The agents that it starts, each with the path that it is told.
    pub fn work(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut started = Vec::new();
        while !self.emptied.is_empty() {
            let container = self.emptied.remove(0);
            let here = &self.containers[&container];
            if here.removed || !self.is_empty(container) {
                continue;
            }
            let (notify, auto_remove) = (here.notify, here.auto_remove);
            let agent = &self.hierarchies[&here.hierarchy].agent;
            if notify && !agent.is_empty() {
                started.push((agent.clone(), self.path(container)));
            }
            if auto_remove {
                self.remove(container);
            }
        }
        started.sort();
        started.dedup();
        started
    }

    /// The processes that were killed.
    pub fn take_killed(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.killed).into_iter().collect()
    }
}

fn check_name(name: &[u8]) -> Result<(), Errno> {
    if name.len() > 255 {
        return Err(Errno::ENAMETOOLONG);
    }
    if name.contains(&b'\n') { Err(Errno::EINVAL) } else { Ok(()) }
}
