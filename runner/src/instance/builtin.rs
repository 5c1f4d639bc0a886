//! The image that the binary carries, so that it is of use on a bare machine with no network. It is trusted as part
//! of the binary, and answers only to its bare name.

use std::collections::BTreeMap;

use gadget::image::{self, Blobs, Descriptor, GadgetImage, Image, Parts, Trust, host_architecture};

/// The only name it answers to: no registry, no tag, no digest.
pub const NAME: &str = "trace_sni";

/// The guest of the carried image.
const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/trace_sni.wasm"));

/// The carried image.
///
/// # Errors
/// If what the binary carries is no image, which a build that passes its tests is not.
pub fn image() -> Result<GadgetImage, image::Error> {
    let parts = Parts {
        metadata: Some(trace_sni::METADATA.as_bytes().to_vec()),
        objects: BTreeMap::from([(host_architecture().to_owned(), trace_sni::OBJECT.to_vec())]),
        wasm: Some(GUEST.to_vec()),
        ..Parts::default()
    };
    // It is as old as the binary, which nobody knows: no date keeps its digest the same.
    let image = Image::assemble(&parts, "", crate::BUILDER_VERSION)?;
    image::read(&Carried(&image), &image.index, NAME, host_architecture(), Trust::BuiltIn)
}

/// The image's blobs, in memory.
struct Carried<'a>(&'a Image);

impl Blobs for Carried<'_> {
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, image::Error> {
        let blob = self.0.blobs.iter().find(|b| b.digest == descriptor.digest);
        blob.map(|b| b.bytes.clone()).ok_or_else(|| image::Error::Missing {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_carries_a_whole_image() {
        let image = image().unwrap();
        assert_eq!(image.object.as_deref(), Some(trace_sni::OBJECT));
        assert_eq!(image.wasm.as_deref(), Some(GUEST));
        assert_eq!(image.metadata, trace_sni::METADATA.as_bytes());
        assert!(image.warnings.is_empty(), "{:?}", image.warnings);
    }
}
