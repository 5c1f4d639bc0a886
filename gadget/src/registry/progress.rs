//! How a transfer is told while it goes on.

/// Hears of a transfer as it goes on. Digests are those of blobs; sizes are bytes.
pub trait Progress {
    /// What there is to transfer, once it is known; what is there already is left out.
    fn blobs(&self, count: usize, bytes: u64) {
        let _ = (count, bytes);
    }
    /// A blob is begun.
    fn start(&self, digest: &str, size: u64) {
        let _ = (digest, size);
    }
    /// More of it is there.
    fn advance(&self, digest: &str, bytes: u64) {
        let _ = (digest, bytes);
    }
    /// It is whole.
    fn done(&self, digest: &str) {
        let _ = digest;
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
