//! Just enough DER to take a public key out of its SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).
//!
//! Strict, because a key that two programs read differently is worse than one that neither reads: only the shortest
//! form of a length, one element after the other, and nothing behind the last. Keys have less than 64 KiB, so lengths
//! of more than two bytes are not known here.

/// Tags of the elements that such a structure is made of.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;

/// A public key's algorithm and bits, as they stand in the structure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyInfo<'a> {
    /// Content of the algorithm's object identifier.
    pub(super) algorithm: &'a [u8],
    /// Content of the parameter, if that is an object identifier: a curve. Empty if it is NULL or absent.
    pub(super) curve: &'a [u8],
    /// The key, whose form depends on the algorithm.
    pub(super) key: &'a [u8],
}

/// Reads a SubjectPublicKeyInfo; `None` if the bytes are anything else.
pub(super) fn key_info(der: &[u8]) -> Option<KeyInfo<'_>> {
    let (outer, rest) = element(der, SEQUENCE)?;
    let (identifier, bits) = element(outer, SEQUENCE)?;
    let (algorithm, parameter) = element(identifier, OBJECT_IDENTIFIER)?;
    let curve = match parameter {
        [] | [NULL, 0] => &[][..],
        parameter => whole(parameter, OBJECT_IDENTIFIER)?,
    };
    // The first byte of a bit string counts the bits that its last byte leaves unused: none in a key.
    let (0, key) = whole(bits, BIT_STRING)?.split_first()? else { return None };
    (rest.is_empty() && !key.is_empty()).then_some(KeyInfo { algorithm, curve, key })
}

/// The content of an element that is all there is.
fn whole(der: &[u8], tag: u8) -> Option<&[u8]> {
    element(der, tag).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// The content of the first element, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, der) = der.split_first()?;
    let (first, der) = der.split_first()?;
    let (length, der) = match *first {
        short @ 0..=0x7f => (usize::from(short), der),
        0x81 => match der.split_first()? {
            (long @ 0x80.., der) => (usize::from(*long), der),
            _ => return None,
        },
        0x82 => match der.split_first_chunk()? {
            (long @ [1..=255, _], der) => (usize::from(u16::from_be_bytes(*long)), der),
            _ => return None,
        },
        _ => return None,
    };
    der.split_at_checked(length).filter(|_| *found == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SEQUENCE { SEQUENCE { 1.3.101.112 }, BIT STRING 0 unused, AA BB }
    const SMALL: &[u8] = &[0x30, 12, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 3, 0, 0xaa, 0xbb];

    #[test]
    fn reads_algorithm_curve_and_key() {
        let expected = KeyInfo { algorithm: &[0x2b, 0x65, 0x70], curve: &[], key: &[0xaa, 0xbb] };
        assert_eq!(key_info(SMALL), Some(expected));
        let with_null = [&[0x30, 14, 0x30, 7, 6, 3, 0x2b, 0x65, 0x70, 5, 0][..], &SMALL[9..]].concat();
        assert_eq!(key_info(&with_null).map(|i| i.curve), Some(&[][..]));
        let with_curve = [&[0x30, 15, 0x30, 8, 6, 3, 0x2b, 0x65, 0x70, 6, 1, 9][..], &SMALL[9..]].concat();
        assert_eq!(key_info(&with_curve).map(|i| i.curve), Some(&[9][..]));
    }

    #[test]
    fn refuses_every_other_form() {
        assert_eq!(key_info(&[SMALL, &[0]].concat()), None, "something behind it");
        for end in 0..SMALL.len() {
            assert_eq!(key_info(&SMALL[..end]), None, "cut at {end}");
        }
        let long_form = [&[0x30, 0x81, 12][..], &SMALL[2..]].concat();
        assert_eq!(key_info(&long_form), None, "a length that fits in one byte");
        let longer_form = [&[0x30, 0x82, 0, 12][..], &SMALL[2..]].concat();
        assert_eq!(key_info(&longer_form), None, "a length that fits in one byte");
        for (at, byte) in [(0, 0x31), (2, 0x31), (4, 5), (9, 4), (11, 1)] {
            let mut changed = SMALL.to_vec();
            changed[at] = byte;
            assert_eq!(key_info(&changed), None, "byte {at}");
        }
        assert_eq!(key_info(&[0x30, 10, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 1, 0]), None, "no key");
        assert_eq!(key_info(&[0x30, 0x80, 0, 0]), None, "no length");
        assert_eq!(key_info(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None, "a huge length");
    }

    proptest! {
        #[test]
        fn never_panics(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = key_info(&der);
        }

        #[test]
        fn a_changed_structure_does_not_panic(at in 0..SMALL.len(), byte: u8) {
            let mut der = SMALL.to_vec();
            der[at] = byte;
            if let Some(info) = key_info(&der) {
                prop_assert!(info.key.len() < SMALL.len());
            }
        }
    }
}
