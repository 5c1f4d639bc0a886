//! Containers as a table: all at once, as wide as needed but no wider than the terminal, or line by line.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::super::text::{cut, printable};
use super::record::{Change, Record};

/// Blanks between columns.
const GAP: usize = 2;
/// Digits of an identifier that are enough for people.
const SHORT_ID: usize = 12;
/// No column is cut to less than this.
const NARROW: usize = 8;
/// Columns where nobody says how wide the terminal is and lines come one by one.
const WIDE: usize = 120;

/// A column: upstream's name for it, its header, and its width where lines come one by one.
struct Column {
    name: &'static str,
    header: &'static str,
    width: usize,
    cell: fn(&Record<'_>) -> String,
}

const COLUMNS: [Column; 19] = [
    column("runtime.runtimeName", "RUNTIME", 10, |r| r.runtime.runtime_name.to_owned()),
    column("runtime.containerName", "NAME", 24, |r| r.runtime.container_name.to_owned()),
    column("runtime.containerId", "ID", SHORT_ID, |r| r.runtime.container_id.to_owned()),
    column("runtime.containerPid", "PID", 7, |r| r.runtime.container_pid.to_string()),
    column("runtime.containerImageName", "IMAGE", 24, |r| r.runtime.container_image_name.to_owned()),
    column("runtime.containerImageId", "IMAGE ID", SHORT_ID, |r| r.runtime.container_image_id.to_owned()),
    column("runtime.containerImageDigest", "IMAGE DIGEST", SHORT_ID, |r| {
        r.runtime.container_image_digest.to_owned()
    }),
    column("runtime.containerStartedAt", "STARTED AT", 20, |r| r.runtime.container_started_at.to_string()),
    column("k8s.namespace", "NAMESPACE", 16, |r| r.k8s.namespace.to_owned()),
    column("k8s.podName", "POD", 24, |r| r.k8s.pod_name.to_owned()),
    column("k8s.containerName", "CONTAINER", 16, |r| r.k8s.container_name.to_owned()),
    column("k8s.podUID", "POD UID", 36, |r| r.k8s.pod_uid.to_owned()),
    column("k8s.podLabels", "POD LABELS", 24, |r| {
        let labels = r.k8s.pod_labels.iter().map(|(key, value)| format!("{key}={value}"));
        labels.collect::<Vec<_>>().join(",")
    }),
    column("mntns", "MNTNS", 10, |r| r.mntns.to_string()),
    column("netns", "NETNS", 10, |r| r.netns.to_string()),
    column("hostNetwork", "HOST NETWORK", 12, |r| r.host_network.to_string()),
    column("cgroupID", "CGROUP ID", 10, |r| r.cgroup_id.to_string()),
    column("cgroupPath", "CGROUP PATH", 24, |r| r.cgroup_path.clone()),
    column("bundle", "BUNDLE", 24, |r| r.bundle.to_owned()),
];

/// What is shown unless other columns are named.
const SHOWN: [&str; 5] = [
    "runtime.runtimeName",
    "runtime.containerName",
    "runtime.containerId",
    "runtime.containerPid",
    "runtime.containerImageName",
];
/// What is shown with it where there are pods.
const SHOWN_OF_PODS: [&str; 2] = ["k8s.namespace", "k8s.podName"];

const fn column(
    name: &'static str,
    header: &'static str,
    width: usize,
    cell: fn(&Record<'_>) -> String,
) -> Column {
    Column { name, header, width, cell }
}

/// The columns that are shown.
pub(super) struct Columns {
    columns: Vec<&'static Column>,
    /// Whether the user named them.
    named: bool,
}

impl Default for Columns {
    fn default() -> Self {
        Self { columns: SHOWN.iter().filter_map(|name| find(name)).collect(), named: false }
    }
}

fn find(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name.eq_ignore_ascii_case(name))
}

impl Columns {
    /// Reads a list of names.
    pub(super) fn parse(names: &str) -> anyhow::Result<Self> {
        let columns = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| {
            find(name).ok_or_else(|| {
                let all: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
                anyhow::anyhow!("no column {name:?}: there are {}", all.join(", "))
            })
        });
        let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
        anyhow::ensure!(
            !columns.is_empty(),
            "columns= names no column: give some, such as runtime.containerName"
        );
        Ok(Self { columns, named: true })
    }
}

/// What is to be printed.
pub(super) struct Table;

impl Table {
    /// All containers at once. On a terminal, identifiers are short and the widest columns give way.
    pub(super) fn of(columns: &Columns, records: &[Record<'_>], terminal: Option<u16>) -> String {
        let mut shown = columns.columns.clone();
        if !columns.named && records.iter().any(|record| !record.k8s.pod_name.is_empty()) {
            shown.extend(SHOWN_OF_PODS.iter().filter_map(|name| find(name)));
        }
        let mut lines = vec![shown.iter().map(|column| column.header.to_owned()).collect::<Vec<_>>()];
        lines.extend(records.iter().map(|record| cells(&shown, record, terminal.is_some())));
        let mut widths: Vec<usize> =
            (0..shown.len()).map(|at| lines.iter().map(|line| line[at].width()).max().unwrap_or(0)).collect();
        if let Some(terminal) = terminal {
            narrow(&mut widths, usize::from(terminal));
        }
        lines.iter().fold(String::new(), |text, line| text + &row(line, &widths, true) + "\n")
    }

    /// The header over lines that come one by one.
    pub(super) fn stream_header(columns: &Columns, terminal: Option<u16>) -> String {
        let headers = columns.columns.iter().map(|column| column.header.to_owned());
        row(
            &["EVENT".to_owned()].into_iter().chain(headers).collect::<Vec<_>>(),
            &stream_widths(columns, terminal),
            terminal.is_some(),
        )
    }

    /// One such line.
    pub(super) fn stream_row(columns: &Columns, change: &Change, terminal: Option<u16>) -> String {
        let record = Record::of(&change.container);
        let cells = cells(&columns.columns, &record, terminal.is_some());
        let line: Vec<_> = [change.event.to_owned()].into_iter().chain(cells).collect();
        row(&line, &stream_widths(columns, terminal), terminal.is_some())
    }
}

fn cells(columns: &[&Column], record: &Record<'_>, short: bool) -> Vec<String> {
    let cell = |column: &&Column| {
        let text = (column.cell)(record);
        let text = match text.strip_prefix("sha256:").unwrap_or(&text) {
            "" => "-",
            hash if short && column.width == SHORT_ID && hash.len() > 32 => {
                hash.get(..SHORT_ID).unwrap_or(hash)
            }
            _ => &text,
        };
        printable(text).into_owned()
    };
    columns.iter().map(cell).collect()
}

fn stream_widths(columns: &Columns, terminal: Option<u16>) -> Vec<usize> {
    let mut widths: Vec<_> =
        [7].into_iter().chain(columns.columns.iter().map(|column| column.width)).collect();
    narrow(&mut widths, terminal.map_or(WIDE, usize::from));
    widths
}

/// Takes from the widest column, again and again, until a line fits.
fn narrow(widths: &mut [usize], room: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        let Some(widest) = widths.iter_mut().max().filter(|width| **width > NARROW) else { return };
        *widest -= 1;
    }
}

/// A line. What is wider than its column is cut, or else moves the others.
fn row(cells: &[String], widths: &[usize], may_cut: bool) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let mut cell = Cow::from(cell);
        if may_cut {
            cut(&mut cell, *width);
        }
        let pad = width.saturating_sub(cell.width()) + GAP;
        let _ = write!(text, "{cell}{:pad$}", "");
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Container;

    fn container(name: &str, image: &str) -> Container {
        Container {
            id: "0123456789abcdef".repeat(4).into(),
            name: name.into(),
            runtime: "containerd".into(),
            image_name: image.into(),
            pid: 4242,
            ..Container::default()
        }
    }

    #[test]
    fn a_table_fits_into_80_columns() {
        let long = container(&"long-name-".repeat(8), "registry.example.com/team/project/image:v1.2.3-rc4");
        let plain = container("web\u{1b}[31m", "");
        let records = [Record::of(&long), Record::of(&plain)];
        let text = Table::of(&Columns::default(), &records, Some(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        insta::assert_snapshot!(text, @r"
        RUNTIME     NAME                     ID            PID   IMAGE
        containerd  long-name-l…-long-name-  0123456789ab  4242  registry.ex…:v1.2.3-rc4
        containerd  web�[31m                 0123456789ab  4242  -
        ");
    }

    #[test]
    fn pods_are_shown_where_there_are_some() {
        let mut in_pod = container("web", "web:1");
        in_pod.k8s.pod_name = "web-0".into();
        in_pod.k8s.namespace = "prod".into();
        let text = Table::of(&Columns::default(), &[Record::of(&in_pod)], Some(80));
        insta::assert_snapshot!(text, @"
        RUNTIME     NAME  ID            PID   IMAGE  NAMESPACE  POD
        containerd  web   0123456789ab  4242  web:1  prod       web-0
        ");
    }

    #[test]
    fn what_is_wider_than_its_column_is_apart_from_the_next() {
        let container = std::sync::Arc::new(container("web", "web:1"));
        let line = Table::stream_row(
            &Columns::default(),
            &Change { event: "CREATED", at: std::time::UNIX_EPOCH, container },
            None,
        );
        let id = "0123456789abcdef".repeat(4);
        assert!(line.contains(&format!(" {id}  4242 ")), "{line}");
    }

    #[test]
    fn columns_are_chosen_by_upstreams_names() {
        let columns = Columns::parse("runtime.containername,MNTNS").unwrap();
        assert_eq!(Table::of(&columns, &[], None), "NAME  MNTNS\n");
        let error = Columns::parse("nothing").err().unwrap().to_string();
        assert!(error.starts_with("no column \"nothing\": there are runtime.runtimeName, "), "{error}");
        assert!(Columns::parse(" , ").is_err());
    }
}
