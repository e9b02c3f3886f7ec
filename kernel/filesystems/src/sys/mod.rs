//! /sys: the topology of the machine, as `/sys/devices/system/{cpu,node}`, the place where cgroups are mounted, and the
//! settings of subsystems, as `/sys/module/NAME/parameters`.

mod module;

use crate::{
    proc::{node_meminfo, numastat},
    table::{Child, Children, Directory, DirectoryInode, Line, Place, Subject, TreeType},
};
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use base::{CpuId, CpuSet, Errno, NodeId, NodeSet};
use core::fmt::Write;
use machine::{cpu, topology};
use memory::AheadMode;
use vfs::{FileKind, FileSystemType, Inode, Link};

/// `f_type` of `statfs`.
const MAGIC: u64 = 0x6265_6572;

/// The type, for the registry of file systems.
pub fn file_system_type() -> Arc<dyn FileSystemType> {
    TreeType::new("sysfs", MAGIC, System, &ROOT)
}

/// The machine as a whole.
#[derive(Clone, Copy)]
struct System;

impl Subject for System {
    fn base(&self) -> u64 {
        1
    }
}

static ROOT: Directory<System> = Directory {
    id: 0,
    lines: &[
        Line::directory("devices", &DEVICES),
        Line::directory("fs", &FS),
        Line::directory("kernel", &KERNEL),
        Line::directory("module", &module::MODULES),
    ],
    children: None,
};
static FS: Directory<System> = Directory { id: 1, lines: &[Line::directory("cgroup", &CGROUP)], children: None };
/// Nothing is in it: cgroup hierarchies are mounted on it, or on directories of a tmpfs there.
static CGROUP: Directory<System> = Directory { id: 2, lines: &[], children: None };
static KERNEL: Directory<System> = Directory { id: 8, lines: &[Line::directory("mm", &MEMORY)], children: None };
static MEMORY: Directory<System> =
    Directory { id: 9, lines: &[Line::directory("transparent_hugepage", &TRANSPARENT)], children: None };
/// Which memory comes in several pages at a time.
static TRANSPARENT: Directory<System> =
    Directory { id: 10, lines: &[Line::setting("enabled", show_ahead_mode, store_ahead_mode)], children: None };
static DEVICES: Directory<System> = Directory { id: 3, lines: &[Line::directory("system", &SYSTEM)], children: None };
static SYSTEM: Directory<System> =
    Directory { id: 4, lines: &[Line::directory("cpu", &CPUS), Line::directory("node", &NODES)], children: None };

static CPUS: Directory<System> = Directory {
    id: 5,
    lines: &[
        Line::text("kernel_max", |_, out| line(out, base::MAX_CPUS - 1)),
        Line::text("offline", |_, out| line(out, cpu::possible().without(&cpu::online()))),
        Line::text("online", |_, out| line(out, cpu::online())),
        Line::text("possible", |_, out| line(out, cpu::possible())),
        Line::text("present", |_, out| line(out, cpu::possible())),
    ],
    children: Some(&EachCpu),
};

static NODES: Directory<System> = Directory {
    id: 6,
    lines: &[
        Line::text("has_cpu", |_, out| line(out, nodes(|node| !cpus_of(node).is_empty()))),
        Line::text("has_memory", |_, out| line(out, topology::get().nodes_with_memory())),
        Line::text("has_normal_memory", |_, out| line(out, topology::get().nodes_with_memory())),
        Line::text("online", |_, out| line(out, nodes(|_| true))),
        Line::text("possible", |_, out| line(out, nodes(|_| true))),
    ],
    children: Some(&EachNode),
};

/// The words of `transparent_hugepage/enabled`.
const AHEAD_MODES: [(&str, AheadMode); 3] =
    [("always", AheadMode::Always), ("madvise", AheadMode::Advised), ("never", AheadMode::Never)];

fn show_ahead_mode(_: &System, out: &mut String) -> Result<(), Errno> {
    let now = memory::ahead_mode();
    let words = AHEAD_MODES.map(|(word, mode)| if mode == now { alloc::format!("[{word}]") } else { word.into() });
    line(out, words.join(" "))
}

/// Errors: `EINVAL` none of the words.
fn store_ahead_mode(_: &System, text: &[u8]) -> Result<(), Errno> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let named = AHEAD_MODES.iter().find(|(word, _)| word.as_bytes() == text).ok_or(Errno::EINVAL)?;
    memory::set_ahead_mode(named.1);
    Ok(())
}

fn line(out: &mut String, value: impl core::fmt::Display) -> Result<(), Errno> {
    writeln!(out, "{value}").map_err(|_| Errno::ENOMEM)
}

/// The CPUs of a node that are online.
fn cpus_of(node: NodeId) -> CpuSet {
    topology::get().cpus_of(node).and(&cpu::online())
}

fn nodes(wanted: impl Fn(NodeId) -> bool) -> NodeSet {
    (0..topology::get().nodes.len() as u32).map(NodeId::new).filter(|&node| wanted(node)).collect()
}

/// The number at the end of a name such as `cpu3`, written as the kernel writes it.
fn numbered(name: &str, prefix: &str) -> Result<u32, Errno> {
    let digits = name.strip_prefix(prefix).ok_or(Errno::ENOENT)?;
    let number: u32 = digits.parse().map_err(|_| Errno::ENOENT)?;
    if number.to_string() == digits { Ok(number) } else { Err(Errno::ENOENT) }
}

struct EachCpu;

impl Children<System> for EachCpu {
    fn next(&self, _: &System, from: u32) -> Option<Child> {
        let cpu = cpu::possible().iter().find(|cpu| cpu.raw() >= from)?;
        let name = alloc::format!("cpu{cpu}");
        Some(Child { key: cpu.raw(), name, inode: OneCpu(cpu).base(), kind: FileKind::Directory })
    }

    fn find(&self, _: &System, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        let cpu = CpuId::new(numbered(name, "cpu")?);
        if !cpu::possible().contains(cpu) {
            return Err(Errno::ENOENT);
        }
        // As on Linux, the CPU that booted can't be taken offline and has no file for it.
        let table = if cpu.raw() == 0 { &BOOT_CPU } else { &CPU };
        Ok(DirectoryInode::new(holder.clone(), OneCpu(cpu), table, 0o755))
    }
}

/// One CPU.
#[derive(Clone, Copy)]
struct OneCpu(CpuId);

impl Subject for OneCpu {
    fn base(&self) -> u64 {
        (u64::from(self.0.raw()) + 1) << 32
    }
}

static CPU: Directory<OneCpu> = Directory {
    id: 0,
    lines: &[
        Line::setting("online", |cpu, out| line(out, u8::from(cpu::online().contains(cpu.0))), set_online),
        Line::directory("topology", &CPU_TOPOLOGY),
    ],
    children: Some(&NodeOfCpu),
};

static BOOT_CPU: Directory<OneCpu> =
    Directory { id: 2, lines: &[Line::directory("topology", &CPU_TOPOLOGY)], children: Some(&NodeOfCpu) };

/// Takes the CPU offline or brings it back. The words are those of Linux: only the first letter counts, after `o` the
/// second. `EINVAL` another word; `EIO` the CPU never started.
fn set_online(cpu: &OneCpu, text: &[u8]) -> Result<(), Errno> {
    match text {
        [b'1' | b'y' | b'Y', ..] | [b'o' | b'O', b'n' | b'N', ..] => sched::bring_online(cpu.0),
        [b'0' | b'n' | b'N', ..] | [b'o' | b'O', b'f' | b'F', ..] => sched::take_offline(cpu.0),
        _ => Err(Errno::EINVAL),
    }
}

static CPU_TOPOLOGY: Directory<OneCpu> = Directory {
    id: 1,
    lines: &[
        Line::text("core_id", |cpu, out| line(out, info(cpu).core)),
        Line::text("core_siblings", |cpu, out| line(out, package(cpu).mask(possible()))),
        Line::text("core_siblings_list", |cpu, out| line(out, package(cpu))),
        Line::text("physical_package_id", |cpu, out| line(out, info(cpu).package)),
        Line::text("thread_siblings", |cpu, out| line(out, core(cpu).mask(possible()))),
        Line::text("thread_siblings_list", |cpu, out| line(out, core(cpu))),
    ],
    children: None,
};

fn possible() -> usize {
    cpu::possible().iter().last().map_or(1, |last| last.index() + 1)
}

fn info(cpu: &OneCpu) -> topology::CpuInfo {
    topology::get().cpus.get(cpu.0.index()).copied().unwrap_or_default()
}

fn alike(wanted: impl Fn(&topology::CpuInfo) -> bool) -> CpuSet {
    let found = topology::get().cpus.iter().enumerate().filter(|(_, info)| wanted(info));
    found.map(|(index, _)| CpuId::new(index as u32)).collect()
}

fn package(cpu: &OneCpu) -> CpuSet {
    alike(|other| other.package == info(cpu).package)
}

fn core(cpu: &OneCpu) -> CpuSet {
    alike(|other| (other.package, other.core) == (info(cpu).package, info(cpu).core))
}

/// The link `nodeN` in a CPU's directory.
struct NodeOfCpu;

impl Children<OneCpu> for NodeOfCpu {
    fn next(&self, cpu: &OneCpu, from: u32) -> Option<Child> {
        let name = alloc::format!("node{}", info(cpu).node);
        (from == 0).then_some(Child { key: 0, name, inode: cpu.base() + 0xff, kind: FileKind::Symlink })
    }

    fn find(&self, cpu: &OneCpu, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        if numbered(name, "node")? != info(cpu).node.raw() {
            return Err(Errno::ENOENT);
        }
        Ok(Arc::new(crate::table::FreeLink {
            place: holder.clone(),
            subject: *cpu,
            number: cpu.base() + 0xff,
            mode: 0o777,
            follow: |cpu| Ok(Link::Path(node_path(cpu))),
            text: |cpu| Ok(node_path(cpu)),
        }))
    }
}

fn node_path(cpu: &OneCpu) -> Vec<u8> {
    alloc::format!("../../node/node{}", info(cpu).node).into_bytes()
}

struct EachNode;

impl Children<System> for EachNode {
    fn next(&self, _: &System, from: u32) -> Option<Child> {
        let node = nodes(|node| node.raw() >= from).lowest()?;
        let name = alloc::format!("node{node}");
        Some(Child { key: node.raw(), name, inode: OneNode(node).base(), kind: FileKind::Directory })
    }

    fn find(&self, _: &System, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        let node = NodeId::new(numbered(name, "node")?);
        if node.index() >= topology::get().nodes.len() {
            return Err(Errno::ENOENT);
        }
        Ok(DirectoryInode::new(holder.clone(), OneNode(node), &NODE, 0o755))
    }
}

/// One memory node.
#[derive(Clone, Copy)]
struct OneNode(NodeId);

impl Subject for OneNode {
    fn base(&self) -> u64 {
        (u64::from(self.0.raw()) + 1) << 48
    }
}

static NODE: Directory<OneNode> = Directory {
    id: 0,
    lines: &[
        Line::text("cpulist", |node, out| line(out, cpus_of(node.0))),
        Line::text("cpumap", |node, out| line(out, cpus_of(node.0).mask(possible()))),
        Line::text("distance", distance),
        Line::text("meminfo", |node, out| node_meminfo(node.0, out)),
        Line::text("numastat", |node, out| numastat(node.0, out)),
    ],
    children: Some(&CpusOfNode),
};

fn distance(node: &OneNode, out: &mut String) -> Result<(), Errno> {
    let all = nodes(|_| true);
    let row: Vec<String> = all.iter().map(|other| topology::get().distance(node.0, other).to_string()).collect();
    line(out, row.join(" "))
}

/// The links `cpuN` in a node's directory.
struct CpusOfNode;

/// A CPU as its node's directory shows it.
#[derive(Clone, Copy)]
struct CpuLink(OneNode, CpuId);

impl Subject for CpuLink {
    fn base(&self) -> u64 {
        self.0.base() + 0x1_0000 + u64::from(self.1.raw())
    }
}

impl Children<OneNode> for CpusOfNode {
    fn next(&self, node: &OneNode, from: u32) -> Option<Child> {
        let cpu = topology::get().cpus_of(node.0).iter().find(|cpu| cpu.raw() >= from)?;
        let name = alloc::format!("cpu{cpu}");
        Some(Child { key: cpu.raw(), name, inode: CpuLink(*node, cpu).base(), kind: FileKind::Symlink })
    }

    fn find(&self, node: &OneNode, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        let cpu = CpuId::new(numbered(name, "cpu")?);
        if !topology::get().cpus_of(node.0).contains(cpu) {
            return Err(Errno::ENOENT);
        }
        let subject = CpuLink(*node, cpu);
        Ok(Arc::new(crate::table::FreeLink {
            place: holder.clone(),
            subject,
            number: subject.base(),
            mode: 0o777,
            follow: |link| Ok(Link::Path(cpu_path(link))),
            text: |link| Ok(cpu_path(link)),
        }))
    }
}

fn cpu_path(link: &CpuLink) -> Vec<u8> {
    alloc::format!("../../cpu/cpu{}", link.1).into_bytes()
}
