//! The image that the binary carries, so that it is of use on a bare machine with no network. It is trusted as part
//! of the binary, and answers only to its bare name.

use std::collections::BTreeMap;

use gadget::image::{GadgetImage, Trust};

/// The only name it answers to: no registry, no tag, no digest.
pub const NAME: &str = "trace_sni";

/// The carried image.
pub fn image() -> GadgetImage {
    GadgetImage {
        reference: NAME.to_owned(),
        digest: String::new(),
        metadata: trace_sni::METADATA.as_bytes().to_vec(),
        object: Some(trace_sni::OBJECT.to_vec()),
        wasm: None,
        btfgen: None,
        annotations: BTreeMap::new(),
        trust: Trust::BuiltIn,
        warnings: Vec::new(),
    }
}
