//! Writes the initramfs: a cpio archive in the "newc" format (the `070701` one that Linux takes).
//!
//! The bytes of a file of a page or more begin on a page of the archive, so that the kernel can map them where they lie.
//! The gap before them is filled by NULs at the end of the name, which every reader of the format skips.
//! The same input gives the same bytes: times are 0, owners are root, entries come in the order of their names.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

const PAGE: usize = 4096;
const HEADER: usize = 110;
/// The longest name with its NULs that Linux accepts.
const LONGEST_NAME: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

/// A tree of files on its way into an archive. Folders on the way to a file are made by themselves.
#[derive(Default)]
pub struct Initramfs {
    nodes: BTreeMap<String, Node>,
}

impl Initramfs {
    /// Adds an empty folder.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.insert(path, Node::Folder)
    }

    /// Adds a file with the permission bits `mode`. A file that was there under this name is replaced.
    pub fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) -> Result<()> {
        self.insert(path, Node::File { mode: mode & 0o7777, content })
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.insert(path, Node::Link { target: target.to_owned() })
    }

    /// Whether there is something under this name.
    pub fn holds(&self, path: &str) -> bool {
        self.nodes.contains_key(path.trim_matches('/'))
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        let path = path.trim_matches('/');
        let parts: Vec<&str> = path.split('/').collect();
        ensure!(
            parts.iter().all(|part| !matches!(*part, "" | "." | "..") && !part.contains('\0')),
            "{path:?} cannot be a path in the initramfs: write it absolute, without `.` and `..`"
        );
        ensure!(path.len() < PAGE - HEADER, "{path:?} is too long for a path in the initramfs");
        for end in 1..parts.len() {
            let parent = parts[..end].join("/");
            match self.nodes.entry(parent).or_insert(Node::Folder) {
                Node::Folder => {}
                _ => bail!("/{path} cannot be in the initramfs: /{} is not a folder", parts[..end].join("/")),
            }
        }
        let replaced = self.nodes.insert(path.to_owned(), node.clone());
        if matches!(replaced, Some(Node::Folder)) != (node == Node::Folder) && replaced.is_some() {
            bail!("/{path} would be a folder and a file in the initramfs");
        }
        Ok(())
    }

    /// The whole archive.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for (path, node) in &self.nodes {
            match node {
                Node::Folder => archive.entry(path, 0o040_755, &[])?,
                Node::File { mode, content } => archive.entry(path, 0o100_000 | mode, content)?,
                Node::Link { target } => archive.entry(path, 0o120_777, target.as_bytes())?,
            }
        }
        archive.end()
    }
}

#[cfg(test)]
impl Initramfs {
    /// The bytes of a file.
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        match self.nodes.get(path.trim_matches('/'))? {
            Node::File { content, .. } => Some(content),
            _ => None,
        }
    }

    /// Where a link points.
    pub fn target(&self, path: &str) -> Option<&str> {
        match self.nodes.get(path.trim_matches('/'))? {
            Node::Link { target } => Some(target),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let mut name_size = path.len() + 1;
        if content.len() >= PAGE {
            // Where the gap asks for a name that is too long, an entry for the root folder moves the place.
            while self.name_size_that_aligns(path) > LONGEST_NAME {
                self.put(".", 2, 0o040_755, &[])?;
            }
            name_size = self.name_size_that_aligns(path);
        }
        self.put(path, name_size, mode, content)
    }

    fn name_size_that_aligns(&self, path: &str) -> usize {
        let shortest_end = self.bytes.len() + HEADER + path.len() + 1;
        path.len() + 1 + (shortest_end.next_multiple_of(PAGE) - shortest_end)
    }

    fn put(&mut self, path: &str, name_size: usize, mode: u32, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len())
            .map_err(|_| anyhow::anyhow!("/{path} is too large for an initramfs (4 GiB)"))?;
        self.entries += 1;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        // inode, mode, uid, gid, links, time, size, device (2), device of the node (2), length of the name, checksum
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, u32::try_from(name_size)?, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        let name_at = self.bytes.len();
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.resize(name_at + name_size, 0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Result<Vec<u8>> {
        self.put("TRAILER!!!", 11, 0, &[])?;
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> usize {
        usize::from_str_radix(std::str::from_utf8(bytes).unwrap(), 16).unwrap()
    }

    /// Path, mode, place and bytes of each entry, read the way Linux's documentation of the format says.
    fn read(archive: &[u8]) -> Vec<(String, usize, usize, Vec<u8>)> {
        let (mut entries, mut at) = (Vec::new(), 0);
        loop {
            let header = &archive[at..at + HEADER];
            assert_eq!(&header[..6], b"070701");
            let field = |index: usize| number(&header[6 + index * 8..14 + index * 8]);
            let (mode, size, name_size) = (field(1), field(6), field(11));
            assert!(name_size <= LONGEST_NAME);
            let name = &archive[at + HEADER..at + HEADER + name_size];
            let name = name.split(|byte| *byte == 0).next().unwrap();
            let name = String::from_utf8(name.to_vec()).unwrap();
            let data = (at + HEADER + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return entries;
            }
            entries.push((name, mode, data, archive[data..data + size].to_vec()));
            at = (data + size).next_multiple_of(4);
        }
    }

    #[test]
    fn parents_come_before_their_files_and_are_made_by_themselves() {
        let mut tree = Initramfs::default();
        tree.file("/bin/sh", 0o755, b"x".to_vec()).unwrap();
        tree.link("bin/ls", "tools").unwrap();
        let entries = read(&tree.archive().unwrap());
        let names: Vec<&str> = entries.iter().map(|entry| entry.0.as_str()).collect();
        assert_eq!(names, ["bin", "bin/ls", "bin/sh"]);
        assert_eq!(entries[1].1, 0o120_777);
        assert_eq!(entries[1].3, b"tools");
        assert_eq!(entries[2].1, 0o100_755);
        assert_eq!(entries[2].3, b"x");
    }

    #[test]
    fn every_file_of_a_page_or_more_begins_on_a_page() {
        // The small files push the large ones to every place a page can have.
        for small in (0..8200).step_by(37) {
            let mut tree = Initramfs::default();
            tree.file("a", 0o644, vec![1; small]).unwrap();
            tree.file("b-with-a-longer-name", 0o755, vec![2; 5000]).unwrap();
            tree.file("c", 0o755, vec![3; 4096]).unwrap();
            for (name, _, place, content) in read(&tree.archive().unwrap()) {
                if content.len() >= PAGE {
                    assert_eq!(place % PAGE, 0, "{name} after {small} bytes");
                }
                assert!(content.windows(2).all(|pair| pair[0] == pair[1]));
            }
        }
    }

    #[test]
    fn a_path_that_climbs_out_is_refused() {
        let mut tree = Initramfs::default();
        assert!(tree.file("/a/../b", 0o644, Vec::new()).is_err());
        assert!(tree.file("", 0o644, Vec::new()).is_err());
    }

    #[test]
    fn a_file_cannot_be_a_folder_as_well() {
        let mut tree = Initramfs::default();
        tree.file("/a", 0o644, Vec::new()).unwrap();
        assert!(tree.file("/a/b", 0o644, Vec::new()).is_err());
        tree.folder("/c").unwrap();
        assert!(tree.file("/c", 0o644, Vec::new()).is_err());
    }
}
