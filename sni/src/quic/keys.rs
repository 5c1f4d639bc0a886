//! The keys of a client's Initial packets, which follow from what everybody sees (RFC 9001, section 5; RFC
//! 9369, section 3.3).

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt as _, KeyInit as _},
};
use aes_gcm::{Aes128Gcm, aead::AeadInOut as _};
use alloc::vec::Vec;
use hkdf::Hkdf;
use sha2::Sha256;

use super::header::{ConnectionId, Initial, Version};
use crate::Error;

const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
    0xbb, 0x7f, 0x0a,
];
const SALT_V2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
    0xbd, 0x2e, 0xd9,
];
const TAG: usize = 16;
/// Bits of the first byte that are zero under the protection (RFC 9000, section 17.2).
const RESERVED: u8 = 0x0c;
const SAMPLE: usize = 16;
/// A packet number has at most four bytes, and the sample begins behind where it would end then.
const MAX_NUMBER: usize = 4;

/// What opens the Initial packets that a client sends on one connection.
#[derive(Clone)]
pub struct Keys {
    seal: Aes128Gcm,
    iv: [u8; 12],
    header: Aes128,
}

impl Keys {
    /// The client's keys on the connection whose first packet was for `destination`.
    #[must_use]
    pub fn client(version: Version, destination: &ConnectionId) -> Self {
        let (salt, key, iv, header) = match version {
            Version::V1 => (SALT_V1, "quic key", "quic iv", "quic hp"),
            Version::V2 => (SALT_V2, "quicv2 key", "quicv2 iv", "quicv2 hp"),
        };
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&salt), destination.as_bytes());
        let client = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, "client in"));
        let client = client.unwrap_or(initial);
        Self {
            seal: Aes128Gcm::new(&expand::<16>(&client, key).into()),
            iv: expand(&client, iv),
            header: Aes128::new(&expand::<16>(&client, header).into()),
        }
    }

    /// Takes the protection off `initial` and leaves its frames in `frames`; gives its packet number.
    /// `largest`: the highest packet number that was opened before with these keys.
    ///
    /// # Errors
    ///
    /// [`Error::Encrypted`] if the packet was not sealed with these keys, [`Error::Malformed`] if it is too
    /// short to be sealed.
    pub fn open(&self, initial: &Initial, largest: Option<u64>, frames: &mut Vec<u8>) -> Result<u64, Error> {
        let packet = initial.packet;
        let sample_at = initial.number_at + MAX_NUMBER;
        let sample =
            packet.get(sample_at..sample_at + SAMPLE).ok_or(Error::Malformed("a packet without a sample"))?;
        let mut mask = aes::Block::default();
        mask.copy_from_slice(sample);
        self.header.encrypt_block(&mut mask);

        frames.clear();
        frames.extend_from_slice(packet);
        frames[0] ^= mask[0] & 0x0f;
        if frames[0] & RESERVED != 0 {
            // No endpoint takes such a packet: three of four that are of other keys end here, at little cost.
            frames.clear();
            return Err(Error::Encrypted);
        }
        let number_len = usize::from(frames[0] & 3) + 1;
        let sealed_at = initial.number_at + number_len;
        let mut truncated = 0;
        for (byte, mask) in frames[initial.number_at..sealed_at].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let number = whole_number(truncated, number_len, largest);
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        let (header, sealed) = frames.split_at_mut(sealed_at);
        let (sealed, tag) = sealed.split_at_mut(sealed.len().saturating_sub(TAG));
        let tag: &[u8; TAG] = (&*tag).try_into().map_err(|_| Error::Malformed("a packet without a tag"))?;
        let opened = self.seal.decrypt_inout_detached(&nonce.into(), header, sealed.into(), tag.into());
        if opened.is_err() {
            frames.clear();
            return Err(Error::Encrypted);
        }
        frames.truncate(frames.len() - TAG);
        frames.drain(..sealed_at);
        Ok(number)
    }
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// HKDF-Expand-Label with no context (RFC 8446, section 7.1).
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &str) -> [u8; N] {
    let prefix = b"tls13 ";
    let mut out = [0; N];
    // Both lengths are of constants above: 32 and 17 at the most.
    let lengths = [0, N as u8, (prefix.len() + label.len()) as u8];
    let info: [&[u8]; 4] = [&lengths, prefix, label.as_bytes(), &[0]];
    // It fails for more than 8160 bytes only.
    let _ = secret.expand_multi_info(&info, &mut out);
    out
}

/// The packet number whose last `len` bytes are `truncated`, the nearest to the one that is due (RFC 9000,
/// appendix A.3).
fn whole_number(truncated: u64, len: usize, largest: Option<u64>) -> u64 {
    let Some(largest) = largest else { return truncated };
    let due = largest + 1;
    let window = 1u64 << (8 * len);
    let candidate = due & !(window - 1) | truncated;
    if candidate + window / 2 <= due && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > due + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::whole_number;

    /// The example of RFC 9000, appendix A.3, and the borders around it.
    #[test]
    fn packet_numbers() {
        assert_eq!(whole_number(0x9b32, 2, Some(0xa82f_30ea)), 0xa82f_9b32);
        assert_eq!(whole_number(0, 1, Some(0xff)), 0x100);
        assert_eq!(whole_number(0xff, 1, Some(0x100)), 0xff);
        assert_eq!(whole_number(5, 4, None), 5);
        assert_eq!(whole_number(0xffff_ffff, 4, Some(0)), 0xffff_ffff);
    }
}
