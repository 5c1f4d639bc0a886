//! A filter expression, and after a NUL an event's bytes: whatever they are, the expression is refused with a place in
//! its text, or lets the event through or not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner::{
    datasource::{Annotations, DataSource, Event, Field, Kind, Place, Scalar, Slots, SourceKind},
    operator::{expression::Expression, filter::Filter},
};

/// Name, kind, whether it is a list, offset and size in bytes.
const FIELDS: [(&str, Scalar, bool, u32, u32); 7] = [
    ("fd", Scalar::Uint32, false, 0, 4),
    ("ret", Scalar::Int64, false, 8, 8),
    ("ok", Scalar::Bool, false, 16, 1),
    ("load", Scalar::Float64, false, 24, 8),
    ("list", Scalar::Uint16, true, 32, 16),
    ("comm", Scalar::CString, false, 48, 16),
    ("addr", Scalar::CString, false, 64, 48),
];
const SIZE: usize = 112;

fn source() -> DataSource {
    let mut ds = DataSource::new("s", SourceKind::Single);
    ds.static_size = SIZE;
    ds.fields.extend(FIELDS.map(|(name, scalar, array, offset, size)| Field {
        name: name.to_owned(),
        full_name: name.to_owned(),
        parent: None,
        kind: Kind { scalar, array },
        place: Place::Static { offset, size },
        hidden: false,
        unreferenced: false,
        order: 0,
        tags: Vec::new(),
        annotations: Annotations::static_defaults(),
    }));
    ds
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let Ok(expression) = std::str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let mut event = parts.next().unwrap_or_default().to_vec();
    event.resize(SIZE, 0);
    let ds = source();
    let mut slots = Slots::new(0);
    match Expression::attach(&ds, expression) {
        Ok(Some(mut filter)) => {
            let _ = filter.process(&mut Event { data: &event, slots: &mut slots });
        }
        Ok(None) => assert!(expression.trim().is_empty()),
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1);
            assert!(error.column <= error.text.chars().count() + 1);
            assert!(!error.to_string().is_empty());
        }
    }
    if let Ok(Some(mut filter)) = Filter::attach(&ds, expression) {
        let _ = filter.process(&mut Event { data: &event, slots: &mut slots });
    }
});
