//! /sys/module: a directory for each subsystem that has settings of its own, with `parameters` in it.

use super::System;
use crate::table::{Child, Children, Directory, DirectoryInode, Line, Place, Subject, free_file};
use alloc::{string::String, sync::Arc, vec::Vec};
use base::Errno;
use container::{Framework, MAX_SUBSYSTEMS, ParameterId};
use vfs::{FileKind, Inode};

/// /sys/module.
pub(super) static MODULES: Directory<System> = Directory { id: 7, lines: &[], children: Some(&EachModule) };

fn framework() -> Result<&'static Framework, Errno> {
    Ok(process::POPULATION.get().ok_or(Errno::ENODEV)?.framework())
}

struct EachModule;

impl Children<System> for EachModule {
    fn next(&self, _: &System, from: u32) -> Option<Child> {
        let framework = framework().ok()?;
        let named = |index| framework.parameters(index).map(|(name, _)| (index, name));
        let (index, name) = (from as usize..MAX_SUBSYSTEMS).find_map(named)?;
        let inode = Module(index).base();
        Some(Child { key: index as u32, name: name.into(), inode, kind: FileKind::Directory })
    }

    fn find(&self, _: &System, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        let framework = framework()?;
        let called = |&index: &usize| framework.parameters(index).is_some_and(|(other, _)| other == name);
        let index = (0..MAX_SUBSYSTEMS).find(called).ok_or(Errno::ENOENT)?;
        Ok(DirectoryInode::new(holder.clone(), Module(index), &MODULE, 0o755))
    }
}

/// A subsystem by its index.
#[derive(Clone, Copy)]
struct Module(usize);

impl Subject for Module {
    fn base(&self) -> u64 {
        // above those of CPUs, below those of nodes
        (self.0 as u64 + 0x8000) << 32
    }
}

static MODULE: Directory<Module> =
    Directory { id: 0, lines: &[Line::directory("parameters", &PARAMETERS)], children: None };
static PARAMETERS: Directory<Module> = Directory { id: 1, lines: &[], children: Some(&EachParameter) };

struct EachParameter;

impl EachParameter {
    fn all(module: &Module) -> Result<Vec<(&'static str, ParameterId)>, Errno> {
        framework()?.parameters(module.0).map(|(_, all)| all).ok_or(Errno::ENOENT)
    }

    fn number(module: &Module, id: ParameterId) -> u64 {
        module.base() + 0x1_0000 + id.index() as u64
    }
}

impl Children<Module> for EachParameter {
    fn next(&self, module: &Module, from: u32) -> Option<Child> {
        let (name, id) = Self::all(module).ok()?.into_iter().nth(from as usize)?;
        let inode = Self::number(module, id);
        Some(Child { key: from, name: name.into(), inode, kind: FileKind::Regular })
    }

    fn find(&self, module: &Module, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        let found = Self::all(module)?.into_iter().find(|(other, _)| *other == name);
        let (_, id) = found.ok_or(Errno::ENOENT)?;
        Ok(free_file(holder.clone(), Setting(*module, id), &SETTING, Self::number(module, id)))
    }
}

/// One setting.
#[derive(Clone, Copy)]
struct Setting(Module, ParameterId);

impl Subject for Setting {
    fn base(&self) -> u64 {
        self.0.base()
    }
}

static SETTING: Line<Setting> = Line::setting("", show, |setting, text| framework()?.store_parameter(setting.1, text));

fn show(setting: &Setting, out: &mut String) -> Result<(), Errno> {
    out.push_str(&framework()?.show_parameter(setting.1)?);
    Ok(())
}
