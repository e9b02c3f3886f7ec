//! Disk images.
#![forbid(unsafe_code)]
