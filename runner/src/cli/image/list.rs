//! `image list`: what is in the store.

use super::BuiltIn;
use crate::cli::text::{columns, cut, printable};
use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};
use gadget::{
    image::{CREATED, Trust, seconds_of_rfc3339},
    reference::shorten,
    store::{Entry, Store},
};
use serde::Serialize;
use std::{borrow::Cow, io::Write, mem::ManuallyDrop, time::SystemTime};

/// Digits of a digest that are enough for people.
const SHORT_DIGEST: usize = 12;
/// Tags of people are shorter than this; those of machines are cut to it on a terminal.
const SHORT_TAG: usize = 20;
/// A repository keeps this many characters, however narrow the terminal is.
const SHORT_REPOSITORY: usize = 16;
/// Blanks between columns.
const GAP: usize = 2;
/// Most bytes that are set aside for the table before it is made.
const ROOM: usize = 1 << 20;

/// For people, on a terminal.
#[derive(Clone, Copy)]
pub(super) struct Short {
    /// The terminal's width in characters.
    pub(super) width: usize,
    /// Seconds since 1970.
    pub(super) now: u64,
}

pub(super) fn command() -> Command {
    Command::new("list")
        .visible_alias("ls")
        .about("List the images in the store")
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("MODE")
                .default_value("columns")
                .value_parser(["columns", "json", "jsonpretty"])
                .hide_possible_values(true)
                .help("columns, json or jsonpretty"),
        )
        .arg(
            Arg::new("no-trunc")
                .long("no-trunc")
                .action(ArgAction::SetTrue)
                .help("Print all in full, as is done into a pipe"),
        )
}

/// One line of the list. The first four keys are upstream's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) digest: String,
    pub(super) created: String,
    pub(super) trust: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damage: Option<String>,
}

pub(super) fn run(
    matches: &ArgMatches,
    store: &Store,
    built_in: Option<&BuiltIn<'_>>,
    terminal: Option<u16>,
    out: &mut impl Write,
    log: &mut impl Write,
) -> Result<()> {
    let rows = built_in.map(Row::built_in).into_iter().chain(store.list().into_iter().map(Row::new));
    // As with the store, its memory is left to the end of the process.
    let rows: ManuallyDrop<Vec<Row>> = ManuallyDrop::new(rows.collect());
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("json") => writeln!(out, "{}", serde_json::to_string(&*rows)?)?,
        Some("jsonpretty") => writeln!(out, "{}", serde_json::to_string_pretty(&*rows)?)?,
        _ => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
            let terminal = terminal.filter(|_| !matches.get_flag("no-trunc"));
            let short = terminal.map(|width| Short { width: width.into(), now });
            out.write_all(table(&rows, short).as_bytes())?;
        }
    }
    for row in rows.iter() {
        if let Some(damage) = &row.damage {
            writeln!(log, "warning: {}: {}", row.title(), printable(damage))?;
        }
    }
    Ok(())
}

impl Row {
    fn new(entry: Entry) -> Self {
        Self {
            repository: entry.repository,
            tag: entry.tag,
            digest: entry.digest,
            created: entry.created,
            trust: trust(entry.trust),
            damage: entry.damage,
        }
    }

    fn built_in(built_in: &BuiltIn<'_>) -> Self {
        Self {
            repository: built_in.name.to_owned(),
            tag: String::new(),
            digest: built_in.image.digest.clone(),
            created: built_in.image.annotations.get(CREATED).cloned().unwrap_or_default(),
            trust: trust(Trust::BuiltIn),
            damage: None,
        }
    }

    fn title(&self) -> String {
        match self.repository.as_str() {
            "" => self.digest.clone(),
            repository => printable(&format!("{repository}:{}", self.tag)).into_owned(),
        }
    }

    /// The cells; for people, digest and date are shortened.
    fn cells(&self, short: Option<Short>) -> [Cow<'_, str>; 4] {
        let state = match (&self.damage, self.trust) {
            (Some(_), _) => Some("damaged"),
            (None, "built in") => Some("built in"),
            _ => None,
        };
        let (repository, digest, created) = match short {
            Some(Short { now, .. }) => {
                let hex = self.digest.strip_prefix("sha256:").unwrap_or(&self.digest);
                let created =
                    ago(&self.created, now).map_or(Cow::Borrowed(self.created.as_str()), Cow::Owned);
                (shorten(&self.repository), hex.get(..SHORT_DIGEST).unwrap_or(hex), created)
            }
            None => (self.repository.as_str(), self.digest.as_str(), self.created.as_str().into()),
        };
        [repository.into(), self.tag.as_str().into(), digest.into(), state.map_or(created, Cow::Borrowed)]
            .map(|cell| match cell {
                Cow::Borrowed(cell) => or_dash(cell),
                Cow::Owned(cell) => or_dash(&cell).into_owned().into(),
            })
    }
}

/// Aligned columns. On a terminal, repositories give way so that a line fits.
pub(super) fn table(rows: &[Row], short: Option<Short>) -> String {
    let header = ["REPOSITORY", "TAG", "DIGEST", "CREATED"].map(Cow::Borrowed);
    let mut lines: Vec<_> = [header].into_iter().chain(rows.iter().map(|row| row.cells(short))).collect();
    let widest = |lines: &[[Cow<'_, str>; 4]], column: usize| {
        lines.iter().map(|line| columns(&line[column])).max().unwrap_or(0)
    };
    if let Some(Short { width, .. }) = short {
        lines.iter_mut().for_each(|line| cut(&mut line[1], SHORT_TAG));
        let others: usize = (1..4).map(|column| GAP + widest(&lines, column)).sum();
        let room = width.saturating_sub(others).max(SHORT_REPOSITORY);
        lines.iter_mut().for_each(|line| cut(&mut line[0], room));
    }
    let widths = [0, 1, 2].map(|column| GAP + widest(&lines, column));
    // Room for all lines: text that grows is copied.
    let longest = widths.iter().sum::<usize>().saturating_add(widest(&lines, 3)).saturating_add(1);
    let mut text = String::with_capacity(longest.saturating_mul(lines.len()).min(ROOM));
    for line in &lines {
        for (cell, width) in line.iter().zip(widths.into_iter().chain([0])) {
            text += cell;
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(columns(cell))));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::BuiltIn => "built in",
        Trust::BuiltHere => "built here",
        Trust::Unverified => "unverified",
    }
}

fn or_dash(cell: &str) -> Cow<'_, str> {
    if cell.is_empty() { "-".into() } else { printable(cell) }
}

/// How long ago a date was; `None` if it is no date of the form that images carry.
fn ago(date: &str, now: u64) -> Option<String> {
    let then = seconds_of_rfc3339(date)?;
    let age = now.saturating_sub(then);
    let units = [
        (31_536_000, "year"),
        (2_592_000, "month"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let Some((size, unit)) = units.into_iter().find(|(size, _)| age >= *size) else {
        return Some("just now".to_owned());
    };
    let count = age / size;
    Some(format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" }))
}
