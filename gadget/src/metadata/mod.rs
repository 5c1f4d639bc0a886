//! gadget.yaml: what a gadget says about itself, its data sources and its parameters.
//!
//! Read here once, into types. As upstream does, keys are matched without regard to case, unknown keys are passed
//! over so that newer gadgets run, and a number or truth value stands for its text where text is meant. The file comes
//! out of an image, so its size, depth and aliases are bounded, and an error points at its line.
//!
//! Format: the metadata file of Inspektor Gadget, version 1.

mod decode;
mod edit;
mod names;
#[cfg(test)]
mod tests;
mod yaml;

pub use edit::{Editor, NoPlace};
pub use names::Names;

/// Largest metadata file, bytes. Upstream's largest has less than 16 KiB.
pub const MAX_SIZE: usize = 1 << 20;

/// What a gadget says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// For people; may hold blanks.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// `homepageURL`.
    pub homepage_url: String,
    /// `documentationURL`.
    pub documentation_url: String,
    /// `sourceURL`.
    pub source_url: String,
    /// About the gadget as a whole; copied to the image's annotations.
    pub annotations: Names<String>,
    /// What the gadget emits, by name.
    pub datasources: Names<DataSource>,
    /// What a user can set.
    pub params: Params,
    /// Other defaults for the parameters of operators, by full key.
    pub param_defaults: Names<String>,
    /// How programs are attached, by function name.
    pub programs: Names<Program>,
    /// Settings of operators, by operator; all keys within are lower case.
    pub operator: Names<serde_json::Value>,
}

/// About one data source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataSource {
    /// How the whole is shown and collected.
    pub annotations: Names<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// About its fields, by full name (`parent.child`).
    pub fields: Names<Field>,
}

/// About one field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Field {
    /// How it is shown and formatted.
    pub annotations: Names<String>,
    /// Labels.
    pub tags: Vec<String>,
}

/// What a user can set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    /// Constants of the eBPF object, by C name. The old section `ebpfParams` is read into this too.
    pub ebpf: Names<Param>,
    /// Parameters of the WebAssembly module, by key.
    pub wasm: Names<Param>,
    /// Parameters that change the metadata itself, by key.
    pub custom: Names<CustomParam>,
}

/// One parameter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Param {
    /// Its flag.
    pub key: String,
    /// Another, hidden flag.
    pub alternative_key: String,
    /// One letter.
    pub alias: String,
    /// For people.
    pub title: String,
    /// Absent means that of the object.
    pub default_value: Option<String>,
    /// For people.
    pub description: String,
    /// Whether it must be given.
    pub is_mandatory: bool,
    /// Labels.
    pub tags: Vec<String>,
    /// `type`: name of a value type.
    pub type_hint: String,
    /// What kind of value a client may offer.
    pub value_hint: String,
    /// All values allowed; empty means any.
    pub possible_values: Vec<String>,
}

/// A parameter that patches the metadata.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CustomParam {
    /// For people.
    pub description: String,
    /// Value when none is given.
    pub default_value: Option<String>,
    /// One letter.
    pub alias: String,
    /// The patch for each value allowed; all keys within are lower case.
    pub values: Names<serde_json::Value>,
    /// The patch for any value; all keys within are lower case. Null if there is none.
    pub patch: serde_json::Value,
}

/// How one program is attached.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Program {
    /// Overrides the target in the section's name.
    pub attach_to: String,
    /// The performance event that triggers it.
    pub perf: Option<Perf>,
    /// Samples a second.
    pub sampler_frequency: Option<u64>,
}

/// A performance event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Perf {
    /// `type`.
    pub kind: String,
    /// Which event of that type.
    pub config: String,
    /// `sampleType`.
    pub sample_type: String,
}

/// Why a metadata file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is too large to be metadata.
    #[error("gadget.yaml has {0} bytes; the most allowed is {MAX_SIZE}")]
    TooLarge(usize),
    /// Something at one place in the file.
    #[error("gadget.yaml, line {line}, column {column}: {why}{snippet}")]
    At {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        why: String,
        /// The line and a mark below it, or nothing.
        snippet: String,
    },
    /// Well-formed, but what it says cannot be meant; one reason a line.
    #[error("gadget.yaml: {}", .0.join("\ngadget.yaml: "))]
    Invalid(Vec<String>),
    /// Several things, each at its place.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Error>),
}

impl Error {
    /// A fault of what stands under these keys, or under the last of them that is there.
    pub fn at(text: &str, path: &[&str], why: &str) -> Self {
        match edit::locate(text, path) {
            None => Self::Invalid(vec![why.to_owned()]),
            Some((line, column)) => {
                let snippet = yaml::snippet(text, line, column);
                Self::At { line, column, why: why.to_owned(), snippet }
            }
        }
    }
}

impl Metadata {
    /// Reads a file. An empty one is that of a gadget that says nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_SIZE {
            return Err(Error::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = good.matches('\n').count() + 1;
            let column = good.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
            let why = "the file is not UTF-8 text; save it as UTF-8".to_owned();
            Error::At { line, column, why, snippet: String::new() }
        })?;
        let decoded = yaml::parse(text).and_then(|node| node.map_or(Ok(Self::default()), decode::metadata));
        decoded.map_err(|fault| fault.into_error(text))
    }

    /// Checks what can be checked without the object: that the gadget has a name and each parameter a key. All faults
    /// are told at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut faults = Vec::new();
        if self.name.trim().is_empty() {
            faults.push("the gadget has no name; add name: at the top".to_owned());
        }
        for (section, params) in [("ebpf", &self.params.ebpf), ("wasm", &self.params.wasm)] {
            for (name, _) in params.iter().filter(|(_, param)| param.key.trim().is_empty()) {
                faults.push(format!("param {name:?} has an empty key; give params.{section}.{name} a key"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
    }
}
