//! The name of a task, `PR_SET_NAME`.

/// The longest name of a task, without the NUL of `PR_SET_NAME`.
pub const NAME_MAX: usize = 15;

/// The name of a task: up to 15 bytes.
#[derive(Clone, Copy, Default)]
pub struct Name {
    bytes: [u8; NAME_MAX],
}

impl Name {
    /// The first 15 bytes of `text`, up to a NUL.
    pub fn new(text: &[u8]) -> Self {
        let mut bytes = [0; NAME_MAX];
        for (to, from) in bytes.iter_mut().zip(text.iter().take_while(|&&byte| byte != 0)) {
            *to = *from;
        }
        Self { bytes }
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(NAME_MAX);
        &self.bytes[..end]
    }
}
