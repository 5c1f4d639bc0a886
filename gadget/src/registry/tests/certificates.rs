//! Whose certificate is believed. The server here has one of its own making, as `openssl req -x509 -days 36500 -addext
//! subjectAltName=DNS:localhost,IP:127.0.0.1` writes it; its key protects nothing.

use super::*;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    thread,
};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/registry/tests/tls").join(name)
}

/// Answers everything with 404 over TLS; its `127.0.0.1:PORT`.
fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let certificate = CertificateDer::from_pem_file(file("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    host
}

fn said(host: &str, change: impl Fn(&mut Config)) -> String {
    let mut config = Config { insecure: vec![], ..config(&Server::of(host.to_owned())) };
    change(&mut config);
    let said = Home::new().pull_as(&Server::of(host.to_owned()), config).unwrap_err();
    said.replace(host, "HOST")
}

#[test]
fn a_certificate_counts_if_it_was_named() {
    let host = start();
    insta::assert_snapshot!(said(&host, |_| ()), @"cannot pull HOST/team/gadget:v1: TLS with HOST: its certificate is one of its own making; if it is the right one, name its file with --ca-file (or SSL_CERT_FILE)");
    let named = said(&host, |config| config.ca_files = vec![file("certificate.pem")]);
    assert!(named.contains("answered 404"), "{named}");
    let unchecked = said(&host, |config| config.verify_tls = false);
    assert!(unchecked.contains("answered 404"), "{unchecked}");
}

#[test]
fn a_certificate_is_for_its_names_only() {
    let host = start().replace("127.0.0.1", "localhost");
    let named = said(&host, |config| config.ca_files = vec![file("certificate.pem")]);
    assert!(named.contains("answered 404"), "{named}");
    let listener = start().replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let other = said(&listener, |config| config.ca_files = vec![file("certificate.pem")]);
    assert!(other.contains("its certificate is for another name"), "{other}");
}

#[test]
fn files_without_certificates_are_named() {
    let of = |path: PathBuf| {
        let config = Config { ca_files: vec![path], ..Config::default() };
        let said = Client::new(config).unwrap_err().to_string();
        said.replace(env!("CARGO_MANIFEST_DIR"), "DIR")
    };
    insta::assert_snapshot!(of(file("key.pem")), @"cannot use the certificates given: DIR/src/registry/tests/tls/key.pem: it holds no certificate; it must hold certificates in PEM");
    insta::assert_snapshot!(of(file("nosuch")), @"cannot use the certificates given: DIR/src/registry/tests/tls/nosuch: No such file or directory (os error 2); it must hold certificates in PEM");
}
