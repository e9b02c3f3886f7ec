//! Trees of names against a model.

use super::*;
use crate::{FileKind, Follow, RenameFlags, testing::with_caller};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum TreeStep {
    Directory(String),
    File(String),
    Unlink(String),
    RemoveDirectory(String),
    Rename(String, String),
}

/// A tree that is too simple to be wrong: all paths with whether they are directories.
#[derive(Default)]
struct Tree(BTreeMap<String, bool>);

impl Tree {
    fn parent_of(path: &str) -> &str {
        path.rsplit_once('/').map_or("", |(parent, _)| parent)
    }

    fn is_directory(&self, path: &str) -> Result<bool, Errno> {
        if path.is_empty() { Ok(true) } else { self.0.get(path).copied().ok_or(Errno::ENOENT) }
    }

    /// Walks to the directory of `path`.
    fn reach(&self, path: &str) -> Result<(), Errno> {
        let parent = Self::parent_of(path);
        if parent.is_empty() {
            return Ok(());
        }
        self.reach(parent)?;
        if self.is_directory(parent)? { Ok(()) } else { Err(Errno::ENOTDIR) }
    }

    fn is_empty(&self, path: &str) -> bool {
        !self.0.keys().any(|other| Self::parent_of(other) == path)
    }

    fn make(&mut self, path: &str, directory: bool) -> Result<(), Errno> {
        self.reach(path)?;
        match self.0.entry(path.into()) {
            std::collections::btree_map::Entry::Occupied(_) => Err(Errno::EEXIST),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(directory);
                Ok(())
            }
        }
    }

    fn remove(&mut self, path: &str, directory: bool) -> Result<(), Errno> {
        self.reach(path)?;
        match (self.is_directory(path)?, directory) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            _ => {}
        }
        if !self.is_empty(path) {
            return Err(Errno::ENOTEMPTY);
        }
        self.0.remove(path);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        self.reach(from)?;
        self.reach(to)?;
        let directory = self.is_directory(from)?;
        let target = self.0.get(to).copied();
        if directory && to.starts_with(&std::format!("{from}/")) {
            return Err(Errno::EINVAL);
        }
        if from.starts_with(&std::format!("{to}/")) {
            return Err(Errno::ENOTEMPTY);
        }
        match target {
            Some(false) if directory => return Err(Errno::ENOTDIR),
            Some(true) if !directory => return Err(Errno::EISDIR),
            _ => {}
        }
        if from == to {
            return Ok(());
        }
        if target == Some(true) && !self.is_empty(to) {
            return Err(Errno::ENOTEMPTY);
        }
        let below = std::format!("{from}/");
        let moved: Vec<String> = self.0.keys().filter(|path| path.starts_with(&below)).cloned().collect();
        for path in moved {
            let kind = self.0.remove(&path).unwrap();
            self.0.insert(std::format!("{to}/{}", &path[below.len()..]), kind);
        }
        self.0.remove(from);
        self.0.insert(to.into(), directory);
        Ok(())
    }
}

fn any_path() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..3u8, 1..4)
        .prop_map(|parts| parts.iter().map(|part| std::format!("/{}", char::from(b'a' + part))).collect())
}

fn any_tree_step() -> impl Strategy<Value = TreeStep> {
    prop_oneof![
        3 => any_path().prop_map(TreeStep::Directory),
        2 => any_path().prop_map(TreeStep::File),
        1 => any_path().prop_map(TreeStep::Unlink),
        1 => any_path().prop_map(TreeStep::RemoveDirectory),
        2 => (any_path(), any_path()).prop_map(|(from, to)| TreeStep::Rename(from, to)),
    ]
}

/// All paths of the real tree, with whether they are directories.
fn listed(caller: Caller<'_>, path: &str, into: &mut BTreeMap<String, bool>) {
    for name in names(caller, if path.is_empty() { "/" } else { path }) {
        if name == "." || name == ".." {
            continue;
        }
        let child = std::format!("{path}/{name}");
        let directory = caller.metadata(HERE, child.as_bytes(), Follow::No).unwrap().kind == FileKind::Directory;
        if directory {
            listed(caller, &child, into);
        }
        into.insert(child, directory);
    }
}

proptest! {
    #[test]
    fn a_tree_agrees_with_a_list_of_paths(steps in proptest::collection::vec(any_tree_step(), 1..60)) {
        with_caller(|caller| {
            let mut model = Tree::default();
            for step in steps {
                let (real, expected) = match &step {
                    TreeStep::Directory(path) => (
                        caller.make(HERE, path.as_bytes(), NodeKind::Directory, mode(0o755)),
                        model.make(path, true),
                    ),
                    TreeStep::File(path) => {
                        (caller.make(HERE, path.as_bytes(), NodeKind::Regular, mode(0o644)), model.make(path, false))
                    }
                    TreeStep::Unlink(path) => (caller.unlink(HERE, path.as_bytes()), model.remove(path, false)),
                    TreeStep::RemoveDirectory(path) => {
                        (caller.remove_directory(HERE, path.as_bytes()), model.remove(path, true))
                    }
                    TreeStep::Rename(from, to) => (
                        caller.rename(HERE, from.as_bytes(), HERE, to.as_bytes(), RenameFlags::empty()),
                        model.rename(from, to),
                    ),
                };
                assert_eq!(real, expected, "{step:?}");
                let mut all = BTreeMap::new();
                listed(caller, "", &mut all);
                assert_eq!(all, model.0, "after {step:?}");
            }
        });
    }

    #[test]
    fn any_path_is_answered(path: Vec<u8>) {
        with_caller(|caller| {
            mkdir(caller, "/a");
            symlink(caller, "/a/../a", "/l");
            let path: Vec<u8> = path.iter().map(|byte| b"/.al\x01"[usize::from(byte % 5)]).collect();
            let _any = caller.resolve(HERE, &path, Follow::Yes);
            let _any = caller.make(HERE, &path, NodeKind::Directory, mode(0o755));
            let _any = caller.open(HERE, &path, OpenFlags::CREATE | OpenFlags::WRITE_ONLY, mode(0o644));
            let _any = caller.rename(HERE, &path, HERE, b"/a/x", RenameFlags::empty());
            let _any = caller.remove_directory(HERE, &path);
            assert!(caller.working_directory().is_ok());
        });
    }
}
