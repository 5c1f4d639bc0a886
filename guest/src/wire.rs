//! Rust values as the bytes that eBPF maps and perf buffers hold, without `unsafe`: little-endian, as the guest's and
//! the kernel's machines are, and structs as C lays them out.

/// A value of a fixed number of bytes. [`record!`](crate::record) makes structs of them.
pub trait Wire: Sized {
    /// Number of bytes.
    const SIZE: usize;
    /// What a C compiler aligns it to, bytes.
    const ALIGN: usize;

    /// Writes it to `to`, which has [`SIZE`](Self::SIZE) bytes, zero where nobody writes.
    fn write(&self, to: &mut [u8]);

    /// Reads it from `from`, which has [`SIZE`](Self::SIZE) bytes.
    fn read(from: &[u8]) -> Self;

    /// Reads it from the front of `bytes`, if there are enough.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.get(..Self::SIZE).map(Self::read)
    }

    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::SIZE];
        self.write(&mut bytes);
        bytes
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Wire for $type {
            const SIZE: usize = size_of::<$type>();
            // Not `align_of`: a 64-bit value has alignment 8 in the kernel on every machine.
            const ALIGN: usize = size_of::<$type>();

            fn write(&self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_le_bytes());
            }

            fn read(from: &[u8]) -> Self {
                let mut bytes = [0; size_of::<$type>()];
                bytes.copy_from_slice(from);
                Self::from_le_bytes(bytes)
            }
        }
    )*};
}

numbers!(u8 i8 u16 i16 u32 i32 u64 i64);

impl<T: Wire, const N: usize> Wire for [T; N] {
    const SIZE: usize = T::SIZE * N;
    const ALIGN: usize = T::ALIGN;

    fn write(&self, to: &mut [u8]) {
        for (item, bytes) in self.iter().zip(to.chunks_exact_mut(T::SIZE)) {
            item.write(bytes);
        }
    }

    fn read(from: &[u8]) -> Self {
        std::array::from_fn(|at| T::read(&from[at * T::SIZE..(at + 1) * T::SIZE]))
    }
}

/// `offset` rounded up to a multiple of `align`.
#[doc(hidden)]
pub const fn aligned(offset: usize, align: usize) -> usize {
    offset.div_ceil(align) * align
}

/// Declares a struct that has the layout of the C struct with the same members, for keys and values of maps and for
/// records of perf buffers.
///
/// ```
/// use gadget_guest::Wire;
///
/// gadget_guest::record! {
///     /// struct call { __u8 kind; __u64 nr; char comm[4]; }
///     #[derive(Debug, PartialEq)]
///     pub struct Call {
///         /// What called.
///         pub kind: u8,
///         /// Which system call.
///         pub nr: u64,
///         /// Name of the thread.
///         pub comm: [u8; 4],
///     }
/// }
///
/// assert_eq!((Call::SIZE, Call::ALIGN), (24, 8));
/// let call = Call { kind: 1, nr: 2, comm: *b"sh\0\0" };
/// assert_eq!(call.to_bytes()[16..20], *b"sh\0\0");
/// assert_eq!(Call::from_bytes(&call.to_bytes()), Some(call));
/// ```
#[macro_export]
macro_rules! record {
    ($(#[$attribute:meta])* $visible:vis struct $name:ident {
        $($(#[$note:meta])* $seen:vis $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$attribute])*
        $visible struct $name { $($(#[$note])* $seen $field: $type),+ }

        impl $crate::Wire for $name {
            const ALIGN: usize = {
                let mut most = 1;
                $(if <$type as $crate::Wire>::ALIGN > most { most = <$type as $crate::Wire>::ALIGN; })+
                most
            };
            const SIZE: usize = {
                let mut end = 0;
                $(end = $crate::wire::aligned(end, <$type as $crate::Wire>::ALIGN)
                    + <$type as $crate::Wire>::SIZE;)+
                $crate::wire::aligned(end, Self::ALIGN)
            };

            fn write(&self, to: &mut [u8]) {
                let mut at = 0;
                $(
                    at = $crate::wire::aligned(at, <$type as $crate::Wire>::ALIGN);
                    $crate::Wire::write(&self.$field, &mut to[at..at + <$type as $crate::Wire>::SIZE]);
                    at += <$type as $crate::Wire>::SIZE;
                )+
                let _ = at;
            }

            fn read(from: &[u8]) -> Self {
                let mut at = 0;
                $(
                    at = $crate::wire::aligned(at, <$type as $crate::Wire>::ALIGN);
                    let $field = <$type as $crate::Wire>::read(&from[at..at + <$type as $crate::Wire>::SIZE]);
                    at += <$type as $crate::Wire>::SIZE;
                )+
                let _ = at;
                Self { $($field),+ }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    crate::record! {
        #[derive(Debug, Clone, PartialEq)]
        struct Inner {
            a: u8,
            b: u16,
        }
    }

    crate::record! {
        #[derive(Debug, Clone, PartialEq)]
        struct Outer {
            first: u8,
            inner: [Inner; 2],
            wide: u64,
            last: i8,
        }
    }

    #[test]
    fn members_are_where_c_has_them() {
        assert_eq!((Inner::SIZE, Inner::ALIGN), (4, 2));
        assert_eq!((Outer::SIZE, Outer::ALIGN), (32, 8));
        let inner = [Inner { a: 2, b: 0x0403 }, Inner { a: 5, b: 6 }];
        let outer = Outer { first: 1, inner, wide: 7, last: -1 };
        let mut bytes = vec![1, 0, 2, 0, 3, 4, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0xff];
        bytes.resize(32, 0);
        assert_eq!(outer.to_bytes(), bytes);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_for_their_length(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let read = Outer::from_bytes(&bytes);
            prop_assert_eq!(read.is_some(), bytes.len() >= Outer::SIZE);
            if let Some(outer) = read {
                prop_assert_eq!(Outer::from_bytes(&outer.to_bytes()), Some(outer));
            }
        }
    }
}
