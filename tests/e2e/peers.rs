//! Real registries on loopback, and the tools of others that speak to them. `scripts/peers` fetches them; without
//! them a test fails and says so.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use tempfile::TempDir;

use super::support::{Process, free_port, wait_until};

/// Who may push and pull where a registry asks.
pub(crate) const USER: &str = "ada";
/// The password of [`USER`]. No message may ever show it.
pub(crate) const PASSWORD: &str = "lace-and-engines";

/// The name that the registry with tokens has for itself.
const SERVICE: &str = "igx-test-registry";

/// A tool or registry that `scripts/peers` fetched.
pub(crate) fn peer(name: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    let folder = env::var_os("IGX_TEST_PEERS").map_or(root, PathBuf::from);
    let program = folder.join("bin").join(name);
    assert!(program.exists(), "{} is missing: run scripts/peers", program.display());
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs to the end, which must be a good one; returns what it printed.
pub(crate) fn ok(command: &mut Command) -> String {
    let output: Output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// docker-registry, listening on loopback, with an empty storage.
pub(crate) struct Registry {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    /// Its certificate, if it speaks TLS.
    pub(crate) certificate: Option<PathBuf>,
    _folder: TempDir,
    _process: Process,
}

impl Registry {
    /// Plain HTTP, open to everybody.
    pub(crate) fn plain() -> Self {
        Self::start(TempDir::new().unwrap(), None, json!({}))
    }

    /// TLS with a certificate of its own, and a password.
    pub(crate) fn with_password() -> Self {
        let folder = TempDir::new().unwrap();
        let tls = certificate(folder.path());
        let file = folder.path().join("htpasswd");
        fs::write(&file, format!("{USER}:{}\n", bcrypt(PASSWORD))).unwrap();
        let auth = json!({ "htpasswd": { "realm": "test", "path": file } });
        Self::start(folder, Some(tls), auth)
    }

    /// Plain HTTP, where a token has to be fetched from another server first.
    pub(crate) fn with_tokens() -> Self {
        let folder = TempDir::new().unwrap();
        let (certificate, key) = certificate(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let auth = json!({ "token": {
            "realm": realm, "service": SERVICE, "issuer": SERVICE, "rootcertbundle": certificate,
        }});
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &certificate, &key);
            }
        });
        Self::start(folder, None, auth)
    }

    fn start(folder: TempDir, tls: Option<(PathBuf, PathBuf)>, auth: serde_json::Value) -> Self {
        let host = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let mut http = json!({ "addr": host, "secret": "test" });
        if let Some((certificate, key)) = &tls {
            http["tls"] = json!({ "certificate": certificate, "key": key });
        }
        let storage = json!({
            "filesystem": { "rootdirectory": folder.path().join("data") }, "delete": { "enabled": true },
        });
        let mut config =
            json!({ "version": 0.1, "log": { "level": "error" }, "storage": storage, "http": http });
        if auth.as_object().is_some_and(|a| !a.is_empty()) {
            config["auth"] = auth;
        }
        let file = folder.path().join("registry.json");
        fs::write(&file, config.to_string()).unwrap();
        let process = Process::start(peer("docker-registry").arg("serve").arg(&file));
        wait_until(&format!("docker-registry listens on {host}"), || TcpStream::connect(&host).is_ok());
        Self {
            host,
            certificate: tls.map(|(certificate, _)| certificate),
            _folder: folder,
            _process: process,
        }
    }

    /// Full name of an image here.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }
}

/// The hash of a password as htpasswd files have it.
fn bcrypt(password: &str) -> String {
    // Of what every test machine has, python's crypt knows this kind of hash.
    let script =
        "import crypt, sys; print(crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))";
    let mut python = Command::new("python3");
    ok(python.args(["-W", "ignore", "-c", script, password])).trim().to_owned()
}

/// A certificate for 127.0.0.1 that signs itself, and its key.
pub(crate) fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("registry.pem"), folder.join("registry-key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=igx test registry",
    ]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]);
    ok(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate));
    (certificate, key)
}

/// Answers one request for a token: to [`USER`] with what was asked for, to others not.
fn answer(mut stream: TcpStream, certificate: &Path, key: &Path) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let wanted = format!("authorization: basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let allowed = lines.take_while(|l| !l.is_empty()).any(|l| l.eq_ignore_ascii_case(&wanted));
    let (status, body) = match allowed {
        true => ("200 OK", json!({ "token": token(&request, certificate, key) }).to_string()),
        false => ("401 Unauthorized", json!({ "errors": [] }).to_string()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
}

/// A JSON Web Token (RFC 7519) that grants the scopes of a request, as the distribution project specifies it.
fn token(request: &str, certificate: &Path, key: &Path) -> String {
    let query =
        request.split(' ').nth(1).and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
    let scopes = query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    let scopes: Vec<String> =
        scopes.map(|s| s.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")).collect();
    let access: Vec<_> = scopes
        .iter()
        .flat_map(|scopes| scopes.split(['+', ' ']).map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|scope| {
            let mut parts = scope.splitn(3, ':').map(str::to_owned);
            let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
            Some(json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }))
        })
        .collect();
    let pem = fs::read_to_string(certificate).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let claims = json!({
        "iss": SERVICE, "aud": SERVICE, "sub": USER, "jti": "1", "iat": now, "nbf": now - 10, "exp": now + 300,
        "access": access,
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let file = key.with_extension(format!("{now}.jwt"));
    fs::write(&file, &signed).unwrap();
    let signature =
        Command::new("openssl").args(["dgst", "-sha256", "-sign"]).arg(key).arg(&file).output().unwrap();
    assert!(signature.status.success(), "{signature:?}");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.stdout))
}

/// The registries are what they claim to be: told by a client that is not ours.
#[test]
fn the_registries_of_the_tests_ask_for_passwords() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    let push = |registry: &Registry, options: &[&str]| {
        let mut oras = peer("oras");
        oras.arg("push").args(options).arg(registry.image("x:1")).arg("file").current_dir(folder.path());
        oras.env("DOCKER_CONFIG", folder.path()).output().unwrap().status.success()
    };
    let (plain, tokens, tls) = (Registry::plain(), Registry::with_tokens(), Registry::with_password());
    let with_password = ["-u", USER, "-p", PASSWORD];
    assert!(push(&plain, &["--plain-http"]));
    assert!(!push(&tokens, &["--plain-http"]));
    assert!(push(&tokens, &[&["--plain-http"][..], &with_password].concat()));
    let ca = ["--ca-file", tls.certificate.as_ref().unwrap().to_str().unwrap()];
    assert!(!push(&tls, &ca));
    assert!(!push(&tls, &with_password));
    assert!(push(&tls, &[&ca[..], &with_password].concat()));
}
