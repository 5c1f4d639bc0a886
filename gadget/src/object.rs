//! The contract between a gadget's ELF object and whoever runs it: tracers, parameters, and structs turned into
//! fields.

/// What kind of value a field holds. The numbers are those of the gRPC API (`api.Kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)] // each name says it all
pub enum Scalar {
    Invalid = 0,
    Bool = 1,
    Int8 = 2,
    Int16 = 3,
    Int32 = 4,
    Int64 = 5,
    Uint8 = 6,
    Uint16 = 7,
    Uint32 = 8,
    Uint64 = 9,
    Float32 = 10,
    Float64 = 11,
    String = 12,
    CString = 13,
    Bytes = 14,
}

/// A scalar, or an array of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// What each element is.
    pub scalar: Scalar,
    /// Whether the field is an array of `scalar`.
    pub array: bool,
}
