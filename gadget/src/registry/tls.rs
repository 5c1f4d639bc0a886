//! Whom to believe over TLS: the authorities of the system (or of SSL_CERT_FILE and SSL_CERT_DIR), those that the user
//! named, and any server whose very certificate the user named. The last is how most registries in a cellar are set
//! up, with a certificate that `openssl req -x509` signed with itself; webpki alone refuses these, for they say that
//! they are an authority's.

use super::Fault;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as Tls, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use rustls_platform_verifier::Verifier;
use std::{fs::File, io::Read, path::Path, sync::Arc};

/// Largest file of certificates, bytes.
const MAX_FILE: u64 = 4 << 20;

/// The certificates in a PEM file; a fault if it has none.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bad = |why: String| Fault::CaFile { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    read.map_err(|error| bad(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(bad("it holds no certificate".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// What TLS is spoken by; `verify` off believes anybody.
pub(super) fn config(
    named: &[CertificateDer<'static>],
    verify: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, Tls> {
    let others = match named {
        [] => Verifier::new(Arc::clone(provider))?,
        named => Verifier::new_with_extra_roots(named.iter().cloned(), Arc::clone(provider))?,
    };
    let from_system = std::env::var_os("SSL_CERT_FILE").and_then(|path| certificates(Path::new(&path)).ok());
    let named = named.iter().cloned().chain(from_system.into_iter().flatten()).collect();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Named { named, verify, others }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A configuration that believes nobody.
pub(super) fn none(provider: &Arc<CryptoProvider>) -> Result<ClientConfig, Tls> {
    Ok(ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// Believes the certificates that were named, and else whom the system believes.
#[derive(Debug)]
struct Named {
    named: Vec<CertificateDer<'static>>,
    verify: bool,
    others: Verifier,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Tls> {
        if !self.verify {
            return Ok(ServerCertVerified::assertion());
        }
        if self.named.iter().any(|named| named.as_ref() == end_entity.as_ref()) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.others.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Tls> {
        self.others.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Tls> {
        self.others.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.others.supported_verify_schemes()
    }
}
