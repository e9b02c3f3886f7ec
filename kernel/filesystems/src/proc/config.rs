//! /proc/config.gz: what this kernel is made of, in the words of Linux's configuration. What is not named there or here means
//! nothing to it.

use super::bytes::Bytes;
use alloc::{format, string::String, sync::Arc, vec::Vec};
use base::{Errno, MAX_CPUS, MAX_NODES};
use process::{MACHINE, RELEASE};
use vfs::{FileOps, OpenRequest};

/// What there is.
const PRESENT: &[&str] = &[
    "64BIT",
    "X86_64",
    "X86",
    "MMU",
    "PRINTK",
    "FUTEX",
    "FUTEX_PI",
    "EPOLL",
    "SIGNALFD",
    "TIMERFD",
    "EVENTFD",
    "AIO",
    "SHMEM",
    "ADVISE_SYSCALLS",
    "MEMBARRIER",
    "RSEQ",
    "POSIX_TIMERS",
    "HIGH_RES_TIMERS",
    "MULTIUSER",
    "SYSVIPC",
    "SYSVIPC_SYSCTL",
    "POSIX_MQUEUE",
    "CROSS_MEMORY_ATTACH",
    "IKCONFIG",
    "IKCONFIG_PROC",
    "BLK_DEV_INITRD",
    "RD_GZIP",
    "CGROUPS",
    "MEMCG",
    "CGROUP_SCHED",
    "FAIR_GROUP_SCHED",
    "CFS_BANDWIDTH",
    "CGROUP_PIDS",
    "CGROUP_FREEZER",
    "CPUSETS",
    "CGROUP_DEVICE",
    "CGROUP_CPUACCT",
    "CGROUP_DEBUG",
    "COREDUMP",
    "ELF_CORE",
    "CORE_DUMP_DEFAULT_ELF_HEADERS",
    "BINFMT_ELF",
    "BINFMT_SCRIPT",
    "SMP",
    "NUMA",
    "ACPI",
    "ACPI_NUMA",
    "X86_X2APIC",
    "HPET_TIMER",
    "SERIAL_8250",
    "SERIAL_8250_CONSOLE",
    "TTY",
    "UNIX98_PTYS",
    "NET",
    "UNIX",
    "PROC_FS",
    "PROC_SYSCTL",
    "SYSFS",
    "TMPFS",
    "TMPFS_XATTR",
    "DEVTMPFS",
    "FILE_LOCKING",
    "DNOTIFY",
    "INOTIFY_USER",
];

/// What programs ask for and there is not.
const ABSENT: &[&str] = &[
    "MODULES",
    "SWAP",
    "BLOCK",
    "INET",
    "NAMESPACES",
    "SECCOMP",
    "IO_URING",
    "BPF_SYSCALL",
    "KEYS",
    "USERFAULTFD",
    "FANOTIFY",
    "HUGETLBFS",
    "TRANSPARENT_HUGEPAGE",
    "IA32_EMULATION",
    "X86_X32_ABI",
    "BSD_PROCESS_ACCT",
    "QUOTA",
    "PERF_EVENTS",
    "KEXEC",
    "VT",
    "CHECKPOINT_RESTORE",
];

/// Opens it.
pub(super) fn open(_: &super::System, _: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    Ok(Arc::new(Bytes::new(gzip(text().as_bytes()))))
}

fn text() -> String {
    let machine = MACHINE.strip_suffix("_64").unwrap_or(MACHINE);
    let mut out = format!(
        "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/{machine} {RELEASE} Kernel Configuration\n#\n"
    );
    let figures = [
        ("NR_CPUS", MAX_CPUS),
        ("NODES_SHIFT", MAX_NODES.ilog2() as usize),
        ("LOG_BUF_SHIFT", machine::log::CAPACITY.ilog2() as usize),
    ];
    PRESENT.iter().for_each(|name| out.push_str(&format!("CONFIG_{name}=y\n")));
    figures.iter().for_each(|(name, value)| out.push_str(&format!("CONFIG_{name}={value}\n")));
    ABSENT.iter().for_each(|name| out.push_str(&format!("# CONFIG_{name} is not set\n")));
    out
}

/// The bytes as gzip (RFC 1952) with blocks that are stored as they are (RFC 1951, 3.2.4).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    const UNKNOWN_SYSTEM: u8 = 255;
    let mut out = Vec::from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, UNKNOWN_SYSTEM]);
    let blocks = bytes.chunks(usize::from(u16::MAX));
    let last = blocks.len() - 1;
    for (index, block) in blocks.enumerate() {
        let length = block.len() as u16;
        out.push(u8::from(index == last));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&checksum(bytes).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out
}

/// CRC-32 as gzip has it.
fn checksum(bytes: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0xedb8_8320;
    let step = |crc: u32, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { REVERSED_POLYNOMIAL };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_knows() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(b""), 0);
    }

    #[test]
    fn each_line_says_that_something_is_there_or_not() {
        let text = text();
        for line in text.lines().skip(4) {
            let present = line.starts_with("CONFIG_") && line.contains('=');
            assert!(present || line.starts_with("# CONFIG_") && line.ends_with(" is not set"), "{line}");
        }
        assert!(text.contains("CONFIG_NR_CPUS=256\n") && text.contains("# CONFIG_SWAP is not set\n"));
        let packed = gzip(text.as_bytes());
        assert_eq!(packed.len(), text.len() + 10 + 5 + 8);
        assert_eq!(&packed[15..15 + text.len()], text.as_bytes());
    }
}
