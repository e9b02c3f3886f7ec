//! What the virtual machine looks like: CPUs, memory nodes, memory, firmware.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, ensure};

/// What starts the bootloader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Firmware {
    /// SeaBIOS, part of QEMU
    #[default]
    Bios,
    /// OVMF
    Uefi,
}

impl Firmware {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }
}

/// An amount of memory, in whole MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    mebibytes: u64,
}

impl Size {
    /// So many MiB.
    pub const fn mebibytes(mebibytes: u64) -> Self {
        Self { mebibytes }
    }
}

impl FromStr for Size {
    type Err = String;

    /// `512`, `512M`, `2G`: MiB unless a letter says otherwise.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no amount of memory; write it like 512M or 2G");
        let (digits, factor) = match text.strip_suffix(['G', 'g']) {
            Some(digits) => (digits, 1024),
            None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        match number.checked_mul(factor) {
            Some(mebibytes) if mebibytes > 0 => Ok(Self { mebibytes }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}M", self.mebibytes)
    }
}

/// The shape of a machine. Machines that are asked for with equal shapes can be one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// How many CPUs.
    pub cpus: u32,
    /// How many memory nodes; CPUs and memory are spread over them evenly.
    pub nodes: u32,
    /// How many nodes, the last ones, have no memory.
    pub memoryless: u32,
    /// All memory together.
    pub memory: Size,
    /// What starts the bootloader.
    pub firmware: Firmware,
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |number: u32| if number == 1 { "" } else { "s" };
        let (cpus, nodes) = (self.cpus, self.nodes);
        let firmware = self.firmware.name();
        write!(out, "{firmware}, {cpus} CPU{}, {nodes} node{}, {}", plural(cpus), plural(nodes), self.memory)?;
        match self.memoryless {
            0 => Ok(()),
            without => write!(out, ", {without} node{} without memory", plural(without)),
        }
    }
}

impl Shape {
    /// QEMU's options for CPUs, memory and nodes.
    ///
    /// One node is described by no table at all, as on a PC. CPUs that do not divide evenly go to the first nodes,
    /// memory that does not to the last; nodes beyond the CPUs have none. Distances are 10 inside and 20 outside.
    pub fn arguments(&self) -> Result<Vec<String>> {
        let Size { mebibytes } = self.memory;
        let (cpus, nodes) = (self.cpus, self.nodes);
        ensure!(cpus > 0, "a machine needs at least one CPU");
        ensure!((1..=128).contains(&nodes), "QEMU can make 1 to 128 nodes, not {nodes}");
        ensure!(self.memoryless < nodes, "some node must have memory");
        let with_memory = nodes - self.memoryless;
        ensure!(mebibytes / u64::from(with_memory) > 0, "{} is too little memory for {nodes} nodes", self.memory);
        let mut arguments = vec!["-m".to_owned(), self.memory.to_string(), "-smp".to_owned()];
        if nodes == 1 || !cpus.is_multiple_of(nodes) {
            arguments.push(cpus.to_string());
        } else {
            arguments.push(format!("{cpus},sockets={nodes},cores={},threads=1", cpus / nodes));
        }
        if nodes == 1 {
            return Ok(arguments);
        }
        let share = mebibytes / u64::from(with_memory);
        let mut next = 0;
        for node in 0..nodes {
            let last = with_memory - 1;
            let memory = if node == last { mebibytes - share * u64::from(last) } else { share };
            let mut memory_of_node = String::new();
            if node <= last {
                arguments.push("-object".to_owned());
                arguments.push(format!("memory-backend-ram,id=node{node},size={memory}M"));
                memory_of_node = format!(",memdev=node{node}");
            }
            let mine = cpus / nodes + u32::from(node < cpus % nodes);
            let list = match mine {
                0 => String::new(),
                1 => format!(",cpus={next}"),
                _ => format!(",cpus={next}-{}", next + mine - 1),
            };
            next += mine;
            arguments.push("-numa".to_owned());
            arguments.push(format!("node,nodeid={node}{memory_of_node}{list}"));
        }
        for from in 0..nodes {
            for to in from + 1..nodes {
                arguments.push("-numa".to_owned());
                arguments.push(format!("dist,src={from},dst={to},val=20"));
            }
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cpus: u32, nodes: u32, mebibytes: u64) -> String {
        let memory = Size::mebibytes(mebibytes);
        Shape { cpus, nodes, memoryless: 0, memory, firmware: Firmware::Bios }.arguments().unwrap().join(" ")
    }

    #[test]
    fn one_node_is_a_plain_machine() {
        assert_eq!(line(4, 1, 512), "-m 512M -smp 4");
    }

    #[test]
    fn cpus_and_memory_are_spread_evenly_over_two_nodes() {
        assert_eq!(
            line(4, 2, 512),
            "-m 512M -smp 4,sockets=2,cores=2,threads=1 \
             -object memory-backend-ram,id=node0,size=256M -numa node,nodeid=0,memdev=node0,cpus=0-1 \
             -object memory-backend-ram,id=node1,size=256M -numa node,nodeid=1,memdev=node1,cpus=2-3 \
             -numa dist,src=0,dst=1,val=20"
        );
    }

    #[test]
    fn what_does_not_divide_evenly_is_still_all_given_out() {
        assert_eq!(
            line(3, 2, 513),
            "-m 513M -smp 3 \
             -object memory-backend-ram,id=node0,size=256M -numa node,nodeid=0,memdev=node0,cpus=0-1 \
             -object memory-backend-ram,id=node1,size=257M -numa node,nodeid=1,memdev=node1,cpus=2 \
             -numa dist,src=0,dst=1,val=20"
        );
    }

    #[test]
    fn a_node_may_have_memory_and_no_cpu() {
        assert!(line(1, 2, 512).contains("-numa node,nodeid=1,memdev=node1 "));
    }

    #[test]
    fn a_node_may_have_cpus_and_no_memory() {
        let memory = Size::mebibytes(512);
        let shape = Shape { cpus: 4, nodes: 2, memoryless: 1, memory, firmware: Firmware::Bios };
        let line = shape.arguments().unwrap().join(" ");
        assert!(
            line.contains("id=node0,size=512M -numa node,nodeid=0,memdev=node0,cpus=0-1 -numa node,nodeid=1,cpus=2-3 ")
        );
        assert_eq!(shape.to_string(), "bios, 4 CPUs, 2 nodes, 512M, 1 node without memory");
    }

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        assert_eq!("2G".parse(), Ok(Size::mebibytes(2048)));
        assert_eq!("512M".parse(), Ok(Size::mebibytes(512)));
        assert_eq!("256".parse(), Ok(Size::mebibytes(256)));
        assert!("0".parse::<Size>().is_err());
        assert!("12T".parse::<Size>().is_err());
        assert!("99999999999999999999G".parse::<Size>().is_err());
    }
}
