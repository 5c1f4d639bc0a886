//! What each kind of gadget looks like in each of its modes: at 80 columns, at 200, and in a pipe. Modes that write the
//! same everywhere are shown once. Escapes of a terminal are shown as ␛.

use std::sync::Arc;

use super::{Display, Mode, Terminal, Writer, sample, views};
use crate::datasource::{DataSource, Event, FieldId, Kind, Scalar, Slot, Slots, SourceKind};

/// The bytes of an event, and what operators added to it.
type Written = (Vec<u8>, Slots);

const HOSTILE: &str = "/tmp/\x1b[2J\n字\u{202e}\"\\\u{9b}1m: #";

/// Every mode of `source`, on each kind of output. Each batch is that of a data source that comes in batches.
fn gallery(source: &DataSource, batches: impl Fn() -> Vec<Vec<Written>>) -> String {
    let mut gallery = String::new();
    for mode in Mode::names_of(source) {
        let shown = [Some(80), Some(200), None].map(|columns| show(source, &mode, columns, batches()));
        let [narrow, wide, piped] = &shown;
        let places = if narrow == piped && wide == piped {
            vec![("everywhere", piped)]
        } else if narrow == wide {
            vec![("terminal", narrow), ("pipe", piped)]
        } else {
            vec![("80 columns", narrow), ("200 columns", wide), ("pipe", piped)]
        };
        for (place, text) in places {
            gallery.push_str(&format!("== {mode}, {place}\n{text}"));
        }
    }
    gallery
}

/// All that a run shows.
fn show(source: &DataSource, mode: &str, columns: Option<u16>, batches: Vec<Vec<Written>>) -> String {
    let display = Display {
        mode: mode.to_owned(),
        fields: None,
        terminal: columns.map(|columns| Arc::new(Terminal::new(columns))),
        colour: columns.is_some(),
    };
    let view = views(&[source], &display).unwrap().remove(0);
    let mut writer = Writer::new(source, &view, &display);
    let mut out = Vec::new();
    writer.header(&mut out);
    for batch in batches {
        writer.begin(&mut out);
        for (data, mut slots) in batch {
            writer.element(&Event { data: &data, slots: &mut slots }, &mut out);
        }
        writer.end(&mut out);
    }
    String::from_utf8(out).unwrap().replace('\x1b', "␛")
}

fn field(source: &mut DataSource, name: &str, scalar: Scalar, size: u32, template: &str) -> FieldId {
    let offset = source.static_size as u32;
    let id = sample::add(source, None, name, scalar, offset, size);
    sample::style(source, id, template, "");
    id
}

fn hide(source: &mut DataSource, id: FieldId) {
    source.fields[id].annotations.set("columns.hidden", "true");
    source.fields[id].hidden = true;
}

fn padded(text: &str, size: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(size, 0);
    bytes
}

/// Such as `trace_open`: one event at a time, with a container's name, and an error as a number and as text.
#[test]
fn events_one_by_one() {
    let mut source = DataSource::new("open", SourceKind::Single);
    let container = source.add_slot_field(None, "container", Scalar::String, -1);
    sample::style(&mut source, container, "container", "");
    field(&mut source, "comm", Scalar::CString, 16, "comm");
    field(&mut source, "pid", Scalar::Uint32, 4, "pid");
    let number = field(&mut source, "error_raw", Scalar::Uint32, 4, "");
    source.fields[number].tags.push("type:gadget_errno".into());
    hide(&mut source, number);
    source.add_slot_field(None, "error", Scalar::String, 0);
    let path = field(&mut source, "fname", Scalar::CString, 40, "");
    source.fields[path].annotations.set("columns.width", "32");
    source.fields[path].annotations.set("columns.ellipsis", "start");
    let event = |container: &str, comm: &str, pid: u32, (number, error): (u32, &'static str), path: &str| {
        let numbers = [pid.to_ne_bytes(), number.to_ne_bytes()].concat();
        let mut slots = Slots::new(2);
        slots.set(0, Slot::Shared(container.into()));
        slots.set(1, Slot::Static(error));
        ([padded(comm, 16), numbers, padded(path, 40)].concat(), slots)
    };
    let shown = gallery(&source, || {
        vec![vec![
            event("shop", "cat", 4321, (0, ""), "/etc/passwd"),
            event(
                "a-container-with-a-name-longer-than-thirty",
                "0123456789abcdef",
                7,
                (2, "ENOENT"),
                HOSTILE,
            ),
            event("", "", u32::MAX, (0, ""), ""),
        ]]
    });
    insta::assert_snapshot!(shown, @r#"
    == columns, 80 columns
    CONTAINER              COMM               PID ERROR       FNAME
    shop                   cat               4321             /etc/passwd
    a-container-with-a-na… 0123456789…          7 ␛[31mENOENT     ␛[39m …\u202e\"\\\u009b1m: #
                                       4294967295
    == columns, 200 columns
    CONTAINER                                                          COMM                    PID ERROR                               FNAME
    shop                                                               cat                    4321                                     /etc/passwd
    a-container-with-a-name-longer-than-thirty                         0123456789abcdef          7 ␛[31mENOENT                             ␛[39m /tmp/\x1b[2J\n字\u202e\"\\\u009b1m: #
                                                                                        4294967295
    == columns, pipe
    CONTAINER                      COMM                          PID ERROR            FNAME
    shop                           cat                          4321                  /etc/passwd
    a-container-with-a-name-longer-than-thirty 0123456789abcdef    7 ENOENT           /tmp/\x1b[2J\n字\u202e\"\\\u009b1m: #
                                                          4294967295
    == json, everywhere
    {"comm":"cat","container":"shop","error":"","error_raw":0,"fname":"/etc/passwd","pid":4321}
    {"comm":"0123456789abcdef","container":"a-container-with-a-name-longer-than-thirty","error":"ENOENT","error_raw":2,"fname":"/tmp/\u001b[2J\n字\u202e\"\\\u009b1m: #","pid":7}
    {"comm":"","container":"","error":"","error_raw":0,"fname":"","pid":4294967295}
    == jsonpretty, everywhere
    {
      "comm": "cat",
      "container": "shop",
      "error": "",
      "error_raw": 0,
      "fname": "/etc/passwd",
      "pid": 4321
    }
    {
      "comm": "0123456789abcdef",
      "container": "a-container-with-a-name-longer-than-thirty",
      "error": "ENOENT",
      "error_raw": 2,
      "fname": "/tmp/\u001b[2J\n字\u202e\"\\\u009b1m: #",
      "pid": 7
    }
    {
      "comm": "",
      "container": "",
      "error": "",
      "error_raw": 0,
      "fname": "",
      "pid": 4294967295
    }
    == yaml, everywhere
    ---
    comm: cat
    container: shop
    error: ""
    error_raw: 0
    fname: /etc/passwd
    pid: 4321
    ---
    comm: 0123456789abcdef
    container: a-container-with-a-name-longer-than-thirty
    error: ENOENT
    error_raw: 2
    fname: "/tmp/\x1b[2J\n字\u202e\"\\\u009b1m: #"
    pid: 7
    ---
    comm: ""
    container: ""
    error: ""
    error_raw: 0
    fname: ""
    pid: 4294967295
    == none, everywhere
    "#);
}

/// Such as `top_file`: a table again and again, on a screen that is cleared for each.
#[test]
fn the_top_of_something() {
    let mut source = DataSource::new("top", SourceKind::Array);
    source.annotations.insert("cli.clear-screen-before".into(), "true".into());
    let tid = field(&mut source, "tid", Scalar::Uint32, 4, "tid");
    hide(&mut source, tid);
    field(&mut source, "comm", Scalar::CString, 16, "comm");
    let reads = field(&mut source, "reads", Scalar::Uint64, 8, "");
    source.fields[reads].annotations.set("columns.alignment", "right");
    let share = field(&mut source, "share", Scalar::Float64, 8, "");
    source.fields[share].annotations.set("columns.precision", "1");
    let row = |tid: u32, comm: &str, reads: u64, share: f64| {
        let bytes = [&tid.to_ne_bytes()[..], &padded(comm, 16), &reads.to_ne_bytes(), &share.to_ne_bytes()];
        (bytes.concat(), Slots::new(0))
    };
    let shown = gallery(&source, || {
        vec![
            vec![row(1, "postgres", u64::MAX, 99.95), row(2, "\x1b]0;x\x07\u{ff}", 12, f64::NAN)],
            Vec::new(),
        ]
    });
    insta::assert_snapshot!(shown, @r#"
    == columns, terminal
    ␛[H␛[2JCOMM                            READS SHARE
    postgres         18446744073709551615 100.0
    \x1b]0;x\aÿ                        12 NaN
    ␛[H␛[2JCOMM                            READS SHARE
    == columns, pipe
    COMM                        READS SHARE
    postgres         18446744073709551615 100.0
    \x1b]0;x\aÿ                    12 NaN
    COMM                        READS SHARE
    == json, everywhere
    [{"comm":"postgres","reads":18446744073709551615,"share":99.95,"tid":1},{"comm":"\u001b]0;x\u0007ÿ","reads":12,"share":null,"tid":2}]
    []
    == jsonpretty, everywhere
    [
      {
        "comm": "postgres",
        "reads": 18446744073709551615,
        "share": 99.95,
        "tid": 1
      },
      {
        "comm": "\u001b]0;x\u0007ÿ",
        "reads": 12,
        "share": null,
        "tid": 2
      }
    ]
    []
    == yaml, everywhere
    ---
    comm: postgres
    reads: 18446744073709551615
    share: 99.95
    tid: 1
    ---
    comm: "\x1b]0;x\x07ÿ"
    reads: 12
    share: null
    tid: 2
    == none, everywhere
    "#);
}

/// Such as `snapshot_process`: all at once, and that is it.
#[test]
fn a_snapshot() {
    let mut source = DataSource::new("processes", SourceKind::Array);
    field(&mut source, "comm", Scalar::CString, 16, "comm");
    field(&mut source, "pid", Scalar::Uint32, 4, "pid");
    let uid = field(&mut source, "uid", Scalar::Uint32, 4, "uid");
    hide(&mut source, uid);
    field(&mut source, "kernel", Scalar::Bool, 1, "");
    let row = |comm: &str, pid: u32, uid: u32, kernel: u8| {
        let numbers = [pid.to_ne_bytes(), uid.to_ne_bytes()].concat();
        ([padded(comm, 16), numbers, vec![kernel]].concat(), Slots::new(0))
    };
    let shown = gallery(&source, || {
        vec![vec![row("systemd", 1, 0, 0), row("kthreadd", 2, 0, 1), row("yes", 4_194_304, 65534, 0)]]
    });
    insta::assert_snapshot!(shown, @r#"
    == columns, terminal
    COMM                    PID KERNEL
    systemd                   1 false
    kthreadd                  2 true
    yes                 4194304 false
    == columns, pipe
    COMM                          PID KERNEL
    systemd                         1 false
    kthreadd                        2 true
    yes                       4194304 false
    == json, everywhere
    [{"comm":"systemd","kernel":false,"pid":1,"uid":0},{"comm":"kthreadd","kernel":true,"pid":2,"uid":0},{"comm":"yes","kernel":false,"pid":4194304,"uid":65534}]
    == jsonpretty, everywhere
    [
      {
        "comm": "systemd",
        "kernel": false,
        "pid": 1,
        "uid": 0
      },
      {
        "comm": "kthreadd",
        "kernel": true,
        "pid": 2,
        "uid": 0
      },
      {
        "comm": "yes",
        "kernel": false,
        "pid": 4194304,
        "uid": 65534
      }
    ]
    == yaml, everywhere
    ---
    comm: systemd
    kernel: false
    pid: 1
    uid: 0
    ---
    comm: kthreadd
    kernel: true
    pid: 2
    uid: 0
    ---
    comm: "yes"
    kernel: false
    pid: 4194304
    uid: 65534
    == none, everywhere
    "#);
}

/// Such as `profile_blockio`: slots that the kernel counts in, and more of them in the next batch.
#[test]
fn a_histogram() {
    let mut source = DataSource::new("blockio", SourceKind::Array);
    source.annotations.insert("metrics.print".into(), "true".into());
    let id = field(&mut source, "latency", Scalar::Uint32, 16, "");
    let slots = &mut source.fields[id];
    slots.kind = Kind { scalar: Scalar::Uint32, array: true };
    slots.tags = vec!["type:gadget_histogram_slot__u32".to_owned()];
    slots.annotations.set("metrics.unit", "µs\x1b");
    let device = field(&mut source, "device", Scalar::CString, 8, "");
    source.fields[device].annotations.set("metrics.type", "key");
    let counts = |counts: [u32; 4], device: &str| {
        let slots = counts.iter().flat_map(|count| count.to_ne_bytes());
        (slots.chain(padded(device, 8)).collect(), Slots::new(0))
    };
    let shown = gallery(&source, || {
        vec![
            vec![counts([0, 1, 40, 3], "sda")],
            vec![counts([0, 0, 40, 0], "sda"), counts([1; 4], "\x1b[2J")],
        ]
    });
    insta::assert_snapshot!(shown, @r#"
    == histogram, everywhere
    latency
    device=sda
            µs\x1b           : count    distribution
             0 -> 1          : 0        |                                        |
             1 -> 2          : 1        |*                                       |
             2 -> 4          : 40       |****************************************|
             4 -> 8          : 3        |***                                     |

    latency
    device=\x1b[2J
            µs\x1b           : count    distribution
             0 -> 1          : 1        |****************************************|
             1 -> 2          : 1        |****************************************|
             2 -> 4          : 1        |****************************************|
             4 -> 8          : 1        |****************************************|

    device=sda
            µs\x1b           : count    distribution
             0 -> 1          : 0        |                                        |
             1 -> 2          : 1        |                                        |
             2 -> 4          : 80       |****************************************|
             4 -> 8          : 3        |*                                       |

    == columns, 80 columns
    LATENCY                                  DEVICE
    <16 bytes>                               sda
    LATENCY                                  DEVICE
    <16 bytes>                               sda
    <16 bytes>                               \x1b[2J
    == columns, 200 columns
    LATENCY                                                                                              DEVICE
    <16 bytes>                                                                                           sda
    LATENCY                                                                                              DEVICE
    <16 bytes>                                                                                           sda
    <16 bytes>                                                                                           \x1b[2J
    == columns, pipe
    LATENCY          DEVICE
    <16 bytes>       sda
    LATENCY          DEVICE
    <16 bytes>       sda
    <16 bytes>       \x1b[2J
    == json, everywhere
    [{"device":"sda","latency":[0,1,40,3]}]
    [{"device":"sda","latency":[0,0,40,0]},{"device":"\u001b[2J","latency":[1,1,1,1]}]
    == jsonpretty, everywhere
    [
      {
        "device": "sda",
        "latency": [0,1,40,3]
      }
    ]
    [
      {
        "device": "sda",
        "latency": [0,0,40,0]
      },
      {
        "device": "\u001b[2J",
        "latency": [1,1,1,1]
      }
    ]
    == yaml, everywhere
    ---
    device: sda
    latency:
    - 0
    - 1
    - 40
    - 3
    ---
    device: sda
    latency:
    - 0
    - 0
    - 40
    - 0
    ---
    device: "\x1b[2J"
    latency:
    - 1
    - 1
    - 1
    - 1
    == none, everywhere
    "#);
}

/// Such as `advise_seccomp`: a text of a guest's, in a mode that only this gadget has.
#[test]
fn text_as_it_is() {
    let mut source = DataSource::new("advice", SourceKind::Single);
    source.annotations.insert("cli.supported-output-modes".into(), "advise,json".into());
    source.annotations.insert("cli.default-output-mode".into(), "advise".into());
    let text = source.add_slot_field(None, "text", Scalar::String, 0);
    hide(&mut source, text);
    let advice = |text: &'static str| {
        let mut slots = Slots::new(1);
        slots.set(0, Slot::Static(text));
        (Vec::new(), slots)
    };
    let shown = gallery(&source, || {
        vec![vec![
            advice("// shop\n{\n\t\"defaultAction\": \"SCMP_ACT_ERRNO\"\n}"),
            advice("\x1b[2J字\u{202e}"),
        ]]
    });
    insta::assert_snapshot!(shown, @r#"
    == advise, everywhere
    // shop
    {
    	"defaultAction": "SCMP_ACT_ERRNO"
    }
    \x1b[2J字\u202e
    == json, everywhere
    {"text":"// shop\n{\n\t\"defaultAction\": \"SCMP_ACT_ERRNO\"\n}"}
    {"text":"\u001b[2J字\u202e"}
    == none, everywhere
    "#);
}
