//! What /proc shows. Rules: section 9.

use super::{Dialect, Model, SUBSYSTEMS};

impl Model {
    /// `/proc/containers`.
    pub fn proc_containers(&self) -> String {
        let alive = self.tasks.values().filter(|task| !task.zombie).count();
        let mut text = format!("Hierarchies:\n0: topcount={} bits=0 containers=1 ()\n", alive + 1);
        for (number, hierarchy) in &self.hierarchies {
            let root = hierarchy.root;
            let bits: u32 = hierarchy.subsystems.iter().map(|index| 1 << index).sum();
            text += &format!(
                "{number}: topcount={} bits={bits:x} containers={} ({}) s_active={} dialect={} mounts={}",
                self.inside(root).len() + 1,
                self.downwards(root).len(),
                self.names_in(hierarchy).join(", "),
                hierarchy.mounts + self.containers[&root].children.len(),
                if hierarchy.dialect == Dialect::Container { "container" } else { "cgroup" },
                hierarchy.mounts,
            );
            text += &hierarchy.name.as_ref().map_or("\n".to_owned(), |name| format!(" name={name}\n"));
        }
        text += "Subsystems:\n";
        for &(index, name) in SUBSYSTEMS {
            text += &format!("{index}: name={name} hierarchy={} enabled=1\n", self.bound(index).unwrap_or(0));
        }
        text
    }

    /// `/proc/cgroups`.
    pub fn proc_cgroups(&self) -> String {
        let mut text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n".to_owned();
        for &(index, name) in SUBSYSTEMS {
            let bound = self.bound(index);
            let count = bound.map_or(1, |number| self.downwards(self.hierarchies[&number].root).len());
            text += &format!("{name}\t{}\t{count}\t1\n", bound.unwrap_or(0));
        }
        text
    }

    /// `/proc/<pid>/container`, `cgroup` and `cpuset`.
    pub fn proc_task(&self, task: i32) -> [String; 3] {
        let task = &self.tasks[&task];
        let place = |number: usize| {
            let path = if task.zombie { b"/".to_vec() } else { self.path(self.place(task, number)) };
            String::from_utf8_lossy(&path).into_owned()
        };
        let names = |number: &usize| {
            let hierarchy = &self.hierarchies[number];
            let mut names: Vec<String> = self.names_in(hierarchy).iter().map(|name| (*name).to_owned()).collect();
            names.extend(hierarchy.name.as_ref().map(|name| format!("name={name}")));
            names.join(",")
        };
        let numbers: Vec<usize> = self.hierarchies.keys().copied().collect();
        let container = numbers.iter().map(|number| format!("{}:{}\n", names(number), place(*number)));
        let cgroup = numbers.iter().rev().map(|number| format!("{number}:{}:{}\n", names(number), place(*number)));
        let cpuset = self.bound(0).map_or("/".to_owned(), place);
        [container.collect(), cgroup.collect(), format!("{cpuset}\n")]
    }
}
