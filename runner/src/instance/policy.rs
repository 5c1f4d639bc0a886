//! What gadget.yaml says about the gadget's guest: what it may use, when it is not needed, and what becomes of the run
//! if it fails. These annotations are this runner's own; others pass over them.

use gadget::metadata::Metadata;

use crate::{
    datasource::DataSource,
    wasm::{Error, Guest, Limits, Payload, Stage, Subscription},
};

/// On the gadget: `continue` or `end`.
const ON_FAILURE: &str = "igx.guest.on-failure";

/// On the gadget: most memory that the guest gets, in pages of 64 KiB.
const MEMORY_PAGES: &str = "igx.guest.memory-pages";

/// On a data source: `true` if the guest is to be called only for events with bytes behind their struct.
const ONLY_WITH_REST: &str = "igx.guest.only-with-rest";

/// What becomes of the run if the guest fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// It ends, or does not start, if the guest fails in a step of its life; it goes on without the guest if it fails
    /// at an event.
    #[default]
    Usual,
    /// It goes on without the guest.
    Continue,
    /// It ends.
    End,
}

impl OnFailure {
    pub(super) fn of(metadata: &Metadata) -> Self {
        match metadata.annotations.get(ON_FAILURE).map(String::as_str) {
            None => Self::Usual,
            Some("continue") => Self::Continue,
            Some("end") => Self::End,
            Some(other) => {
                tracing::warn!("gadget.yaml: {ON_FAILURE} is {other:?}: use \"continue\" or \"end\"");
                Self::Usual
            }
        }
    }
}

/// What the guest may use up.
pub(super) fn limits(metadata: &Metadata) -> Limits {
    let mut limits = Limits::default();
    let Some(text) = metadata.annotations.get(MEMORY_PAGES) else { return limits };
    match text.parse() {
        Ok(pages) if (1..=limits.pages).contains(&pages) => limits.pages = pages,
        _ => {
            tracing::warn!(
                "gadget.yaml: {MEMORY_PAGES} is {text:?}: use a number from 1 to {}",
                limits.pages
            );
        }
    }
    limits
}

/// Whether the guest wants only those of the data source's events that have bytes behind their struct.
pub(super) fn only_with_rest(source: &DataSource) -> bool {
    source.annotations.get(ONLY_WITH_REST).is_some_and(|wanted| wanted == "true")
}

/// A guest in a run.
pub(super) struct Hosted {
    pub(super) guest: Guest,
    on_failure: OnFailure,
    failure: Option<Error>,
}

impl Hosted {
    pub(super) fn new(guest: Guest, on_failure: OnFailure) -> Self {
        Self { guest, on_failure, failure: None }
    }

    /// Calls the guest for a stage.
    ///
    /// # Errors
    /// When it fails and the run has to end for that.
    pub(super) fn call(&mut self, stage: Stage, sources: Option<&mut Vec<DataSource>>) -> Result<(), Error> {
        let result = match sources {
            Some(sources) => self.guest.call(stage, sources),
            None => self.guest.call_sealed(stage),
        };
        match result {
            Err(error) if self.on_failure == OnFailure::Continue => {
                self.guest.abandon();
                tell(&error);
                Ok(())
            }
            result => result,
        }
    }

    /// Calls the guest for an event or a batch. `false` if it is to be discarded: also if the run is about to end.
    pub(super) fn event(&mut self, call: &Subscription, payload: &mut Payload) -> bool {
        match self.guest.event(call, payload) {
            Ok(kept) => kept && self.failure.is_none(),
            Err(error) if self.on_failure == OnFailure::End => {
                self.failure = Some(error);
                false
            }
            Err(error) => {
                tell(&error);
                true
            }
        }
    }

    /// Why the run has to end.
    pub(super) fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}

/// Names a guest that is not called any more; said once, as it cannot fail again.
pub(super) fn tell(error: &Error) {
    tracing::warn!("{error}; the run goes on without it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(annotations: &str) -> Metadata {
        Metadata::parse(format!("name: test\nannotations:\n{annotations}").as_bytes()).unwrap()
    }

    #[test]
    fn what_gadget_yaml_says_counts_if_it_is_sound() {
        for (text, expected) in [
            ("  other: x", OnFailure::Usual),
            ("  igx.guest.on-failure: continue", OnFailure::Continue),
            ("  igx.guest.on-failure: end", OnFailure::End),
            ("  igx.guest.on-failure: panic", OnFailure::Usual),
        ] {
            assert_eq!(OnFailure::of(&metadata(text)), expected, "{text}");
        }
        for (text, expected) in [("64", 64), ("256", 256), ("257", 256), ("0", 256), ("-1", 256), ("x", 256)]
        {
            let metadata = metadata(&format!("  igx.guest.memory-pages: \"{text}\""));
            assert_eq!(limits(&metadata).pages, expected, "{text}");
        }
    }
}
