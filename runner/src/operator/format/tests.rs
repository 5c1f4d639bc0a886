//! Tests of attaching: which fields get a text, how it is named, and what happens to the number.

use super::super::testing::{Source, bytes, event, text};
use super::*;

/// What a formatter writes for a number.
pub(super) fn rendered(render: Render, raw: u64) -> String {
    let mut slots = Slots::new(1);
    render(raw, &mut slots, 0);
    let place = crate::datasource::Place::Slot(0);
    let kind = crate::datasource::Kind { scalar: Scalar::String, array: false };
    let event = Event { data: &[], slots: &mut slots };
    String::from_utf8(Accessor::new(place, kind).bytes(&event).to_vec()).unwrap()
}

/// What is shown for a number of the type `tag`.
pub(crate) fn shown(tag: &str, raw: u64) -> String {
    let formatters = [
        signal::formatter(),
        errno::formatter(),
        syscall::formatter(),
        bytes::formatter(),
        duration::formatter(),
        file_mode::formatter(),
        file_flags::formatter(),
    ];
    let tags: Vec<_> = formatters.iter().map(|formatter| formatter.tag).collect();
    let found = formatters.iter().find(|formatter| formatter.tag.trim_start_matches("type:") == tag);
    rendered(found.unwrap_or_else(|| panic!("{tag} is none of {tags:?}")).render, raw)
}

fn source() -> DataSource {
    Source::new("open")
        .number("timestamp_raw", Scalar::Uint64, "gadget_timestamp")
        .number("error_raw", Scalar::Uint32, "gadget_errno")
        .number("sig", Scalar::Uint32, "gadget_signal")
        .with("formatters.signal.target", "signal")
        .number("call_raw", Scalar::Uint64, "gadget_syscall")
        .number("size_raw", Scalar::Uint64, "gadget_bytes")
        .number("took_raw", Scalar::Uint64, "gadget_duration")
        .number("mode_raw", Scalar::Uint32, "gadget_file_mode")
        .number("flags_raw", Scalar::Uint32, "gadget_file_flags")
        .with("columns.hidden", "false")
        .number("plain", Scalar::Uint32, "gadget_errno")
        .number("wide_raw", Scalar::Uint64, "gadget_errno")
        .done()
}

#[test]
fn fields() {
    let mut ds = source();
    Format::attach(&mut ds, None).unwrap();
    let mut out = String::new();
    for field in &ds.fields {
        let hidden = if field.hidden { " hidden" } else { "" };
        let annotations: Vec<_> = match field.kind.scalar == Scalar::String {
            true => field.annotations.iter().map(|(k, v)| format!("{k}={v:.20}")).collect(),
            false => Vec::new(),
        };
        out += &format!("{} {}{hidden} {}\n", field.full_name, field.order, annotations.join(" "));
    }
    insta::assert_snapshot!(out, @r"
    timestamp_raw 0 hidden 
    error_raw 0 hidden 
    sig 0 hidden 
    call_raw 0 hidden 
    size_raw 0 hidden 
    took_raw 0 hidden 
    mode_raw 0 hidden 
    flags_raw 0 
    plain 0 
    wide_raw 0 
    signal 10 value.one-of=SIGABRT, SIGALRM, SI
    error 11 columns.width=12 template=errorString value.one-of=E2BIG, EACCES, EADDR
    call 12 columns.maxwidth=28 columns.width=18 description=Syscall template=syscall
    timestamp 13 hidden columns.ellipsis=end columns.hidden=true columns.maxwidth=35 columns.width=35 description=Microseconds since U template=timestamp
    size 14 columns.alignment=right columns.width=10 template=bytes
    took 15 columns.alignment=right columns.width=20 template=duration
    mode 16 columns.alignment=left columns.ellipsis=end columns.width=16
    flags 17 columns.alignment=left columns.ellipsis=end columns.width=16
    ");
}

#[test]
fn texts_of_an_event() {
    let ds_before = source();
    let mut ds = source();
    let mut format = Format::attach(&mut ds, None).unwrap();
    let data = bytes(
        &ds_before,
        &[
            ("error_raw", &2_u32.to_ne_bytes()),
            ("sig", &9_u32.to_ne_bytes()),
            ("size_raw", &1_500_u64.to_ne_bytes()),
            ("took_raw", &1_500_u64.to_ne_bytes()),
            ("mode_raw", &0o644_u32.to_ne_bytes()),
            ("flags_raw", &1_u32.to_ne_bytes()),
        ],
    );
    event(&ds, &data, |e| {
        assert_eq!(format.process(e), Verdict::Pass);
        for (field, expected) in [
            ("error", "ENOENT"),
            ("signal", "SIGKILL"),
            ("size", "1.5 kB"),
            ("took", "1.50µs"),
            ("mode", "-rw-r--r--"),
            ("flags", "O_WRONLY"),
        ] {
            assert_eq!(text(&ds, e, field), expected, "{field}");
        }
        assert!(text(&ds, e, "call").starts_with("SYS_"));
        assert!(text(&ds, e, "timestamp").starts_with("20"));
    });
}

#[test]
fn nothing_to_format() {
    let mut ds = Source::new("s").number("pid", Scalar::Uint32, "gadget_pid").done();
    assert!(Format::attach(&mut ds, None).is_none());
}

#[test]
fn unreferenced_fields_are_left_alone() {
    let mut ds = Source::new("s").number("error_raw", Scalar::Uint32, "gadget_errno").done();
    ds.fields[0].unreferenced = true;
    assert!(Format::attach(&mut ds, None).is_none());
}
